// BLAS and LAPACK through a table of pointers, so that the library links to none: Python hands
// over SciPy's, C++ programs the one they were built with.
#pragma once

#include <complex>
#include <string>
#include <type_traits>

#include "jaxmg/types.hpp"

namespace jaxmg::cpu {

/// Fortran's calling convention, 32-bit integers.
using blas_int = int;

template <Scalar T>
struct Blas {
  using R = real_t<T>;
  using I = blas_int;
  using Gemm = void(const char*, const char*, const I*, const I*, const I*, const T*, const T*,
                    const I*, const T*, const I*, const T*, T*, const I*);
  using Gemv = void(const char*, const I*, const I*, const T*, const T*, const I*, const T*,
                    const I*, const T*, T*, const I*);
  /// syrk for real types.
  using Herk = void(const char*, const char*, const I*, const I*, const R*, const T*, const I*,
                    const R*, T*, const I*);
  using Trsm = void(const char*, const char*, const char*, const char*, const I*, const I*,
                    const T*, const T*, const I*, T*, const I*);
  using Potrf = void(const char*, const I*, T*, const I*, I*);
  using Trtri = void(const char*, const char*, const I*, T*, const I*, I*);
  using Steqr = void(const char*, const I*, R*, R*, T*, const I*, R*, I*);
  using Geqrf = void(const I*, const I*, T*, const I*, T*, T*, const I*, I*);
  using RealHeevd = void(const char*, const char*, const I*, T*, const I*, R*, T*, const I*, I*,
                         const I*, I*);
  using ComplexHeevd = void(const char*, const char*, const I*, T*, const I*, R*, T*, const I*, R*,
                            const I*, I*, const I*, I*);
  /// syevd for real types.
  using Heevd = std::conditional_t<is_complex_v<T>, ComplexHeevd, RealHeevd>;
  using Larft = void(const char*, const char*, const I*, const I*, const T*, const I*, const T*, T*,
                     const I*);

  Gemm* gemm;
  Gemv* gemv;
  Herk* herk;
  Trsm* trsm;
  Potrf* potrf;
  Trtri* trtri;
  Steqr* steqr;
  Geqrf* geqrf;
  Larft* larft;
  Heevd* heevd;
};

struct BlasTable {
  Blas<float> s;
  Blas<double> d;
  Blas<std::complex<float>> c;
  Blas<std::complex<double>> z;
};

/// To be called before the first work; the first one given stays. `name` is what a user is told.
void set_blas(const BlasTable& table, std::string name);

/// Throws Error when set_blas has not been called.
const BlasTable& blas_table();
const std::string& blas_name();

/// How many threads one BLAS call may use now, as the loaded OpenBLAS, MKL or BLIS tells; 1 if none
/// does. Never sets anything: the number is the user's.
int blas_threads();

template <Scalar T>
const Blas<T>& blas() {
  const BlasTable& table = blas_table();
  if constexpr (std::same_as<T, float>) return table.s;
  if constexpr (std::same_as<T, double>) return table.d;
  if constexpr (std::same_as<T, std::complex<float>>) return table.c;
  if constexpr (std::same_as<T, std::complex<double>>) return table.z;
}

}  // namespace jaxmg::cpu
