// What the CUDA backend leaves to libraries, by the CPU's.
#include "device/cuda/backend.hpp"

#include "device/cpu/backend.hpp"

namespace jaxmg::emulated {

using Cpu = cpu::Backend;

template <class T>
void Backend::copy(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  Cpu::copy<T>(queue, src, dst);
}
template <class T>
void Backend::add(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  Cpu::add<T>(queue, src, dst);
}
template <class T>
void Backend::fill(Queue& queue, T value, MatrixView<T> dst) {
  Cpu::fill<T>(queue, value, dst);
}
template <class T>
void Backend::copy_lower(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  Cpu::copy_lower<T>(queue, src, dst);
}
template <class T>
void Backend::conj_transpose(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  Cpu::conj_transpose<T>(queue, src, dst);
}
template <class T>
void Backend::make_hermitian(Queue& queue, MatrixView<T> A) {
  Cpu::make_hermitian<T>(queue, A);
}
template <class T>
void Backend::fill_nan_if(Queue& queue, const std::int32_t* info, MatrixView<T> dst) {
  Cpu::fill_nan_if<T>(queue, info, dst);
}
template <class T>
void Backend::gemm(Queue& queue, Op op_a, Op op_b, T alpha, MatrixView<const T> A,
                   MatrixView<const T> B, T beta, MatrixView<T> C) {
  Cpu::gemm<T>(queue, op_a, op_b, alpha, A, B, beta, C);
}
template <class T>
void Backend::trsm(Queue& queue, Side side, Op op, MatrixView<const T> L, MatrixView<T> B) {
  Cpu::trsm<T>(queue, side, op, L, B);
}
template <class T>
void Backend::heevd(Queue& queue, MatrixView<T> A, real_t<T>* w, bool vectors, std::int32_t* info) {
  Cpu::heevd<T>(queue, A, w, vectors, info);
}
void Backend::call_host(Queue& queue, const std::function<void()>& f) { Cpu::call_host(queue, f); }
void Backend::first_failure(Queue& queue, const std::int32_t* infos, int count, std::int32_t* out) {
  Cpu::first_failure(queue, infos, count, out);
}
template <class X>
void Backend::download(Queue& queue, const X* src, index_t count, X* host) {
  Cpu::download<X>(queue, src, count, host);
}
template <class X>
void Backend::upload(Queue& queue, std::vector<X> host, X* dst) {
  Cpu::upload<X>(queue, std::move(host), dst);
}

#define JAXMG_INSTANTIATE(T)                                                                  \
  template void Backend::copy(Queue&, MatrixView<const T>, MatrixView<T>);                    \
  template void Backend::add(Queue&, MatrixView<const T>, MatrixView<T>);                     \
  template void Backend::fill(Queue&, T, MatrixView<T>);                                      \
  template void Backend::copy_lower(Queue&, MatrixView<const T>, MatrixView<T>);              \
  template void Backend::conj_transpose(Queue&, MatrixView<const T>, MatrixView<T>);          \
  template void Backend::make_hermitian(Queue&, MatrixView<T>);                               \
  template void Backend::fill_nan_if(Queue&, const std::int32_t*, MatrixView<T>);             \
  template void Backend::gemm(Queue&, Op, Op, T, MatrixView<const T>, MatrixView<const T>, T, \
                              MatrixView<T>);                                                 \
  template void Backend::trsm(Queue&, Side, Op, MatrixView<const T>, MatrixView<T>);          \
  template void Backend::heevd(Queue&, MatrixView<T>, real_t<T>*, bool, std::int32_t*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
#undef JAXMG_INSTANTIATE
template void Backend::copy(Queue&, MatrixView<const std::int32_t>, MatrixView<std::int32_t>);
template void Backend::copy(Queue&, MatrixView<const SecularRoot>, MatrixView<SecularRoot>);
template void Backend::fill(Queue&, std::int32_t, MatrixView<std::int32_t>);

#define JAXMG_INSTANTIATE(X)                                      \
  template void Backend::download(Queue&, const X*, index_t, X*); \
  template void Backend::upload(Queue&, std::vector<X>, X*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::int32_t)
JAXMG_INSTANTIATE(index_t)
JAXMG_INSTANTIATE(Rotation)

}  // namespace jaxmg::emulated
