// The only file that names BLAS symbols. JAXMG_BLAS_PREFIX is what the library puts before them
// (`scipy_` in the scipy-openblas32 wheel), JAXMG_BLAS_NAME what users are told.
#include "device/cpu/blas.hpp"

#ifndef JAXMG_BLAS_PREFIX
#define JAXMG_BLAS_PREFIX
#endif
#define JAXMG_JOIN_(a, b, c) a##b##c
#define JAXMG_JOIN(a, b, c) JAXMG_JOIN_(a, b, c)
#define JAXMG_SYMBOL(name) JAXMG_JOIN(JAXMG_BLAS_PREFIX, name, _)

namespace jaxmg::cpu {
namespace {

using s = float;
using d = double;
using c = std::complex<float>;
using z = std::complex<double>;

}  // namespace

#define JAXMG_DECLARE(t, herk_name, heevd_name)        \
  extern "C" Blas<t>::Gemm JAXMG_SYMBOL(t##gemm);      \
  extern "C" Blas<t>::Gemv JAXMG_SYMBOL(t##gemv);      \
  extern "C" Blas<t>::Herk JAXMG_SYMBOL(t##herk_name); \
  extern "C" Blas<t>::Trsm JAXMG_SYMBOL(t##trsm);      \
  extern "C" Blas<t>::Potrf JAXMG_SYMBOL(t##potrf);    \
  extern "C" Blas<t>::Trtri JAXMG_SYMBOL(t##trtri);    \
  extern "C" Blas<t>::Steqr JAXMG_SYMBOL(t##steqr);    \
  extern "C" Blas<t>::Geqrf JAXMG_SYMBOL(t##geqrf);    \
  extern "C" Blas<t>::Larft JAXMG_SYMBOL(t##larft);    \
  extern "C" Blas<t>::Heevd JAXMG_SYMBOL(t##heevd_name);
JAXMG_DECLARE(s, syrk, syevd)
JAXMG_DECLARE(d, syrk, syevd)
JAXMG_DECLARE(c, herk, heevd)
JAXMG_DECLARE(z, herk, heevd)
#undef JAXMG_DECLARE

#define JAXMG_TABLE(t, herk_name, heevd_name)                                   \
  {                                                                             \
    JAXMG_SYMBOL(t##gemm), JAXMG_SYMBOL(t##gemv), JAXMG_SYMBOL(t##herk_name),   \
        JAXMG_SYMBOL(t##trsm), JAXMG_SYMBOL(t##potrf), JAXMG_SYMBOL(t##trtri),  \
        JAXMG_SYMBOL(t##steqr), JAXMG_SYMBOL(t##geqrf), JAXMG_SYMBOL(t##larft), \
        JAXMG_SYMBOL(t##heevd_name)                                             \
  }

namespace {

/// Given when the program starts: whoever is linked with this file computes with this BLAS.
[[maybe_unused]] const bool given = [] {
  const BlasTable table = {JAXMG_TABLE(s, syrk, syevd), JAXMG_TABLE(d, syrk, syevd),
                           JAXMG_TABLE(c, herk, heevd), JAXMG_TABLE(z, herk, heevd)};
  set_blas(table, JAXMG_BLAS_NAME);
  return true;
}();

}  // namespace

}  // namespace jaxmg::cpu
