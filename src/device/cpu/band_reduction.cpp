// The CPU backend's operations for the reduction to band form.
#include <algorithm>
#include <cmath>
#include <vector>

#include "device/contract_band_reduction.hpp"
#include "device/cpu/backend.hpp"
#include "device/cpu/blas.hpp"
#include "device/cpu/sanitizer.hpp"
#include "device/cpu/sizes.hpp"

namespace jaxmg::cpu {

template <class T>
void Backend::mark_zero(Queue& queue, MatrixView<const T> A, std::int32_t* info) {
  queue.enqueue([=] {
    declare_read(A);
    declare_write(info, 1);
    bool zero = true;
    for (index_t j = 0; j < A.cols && zero; ++j) {
      zero = std::all_of(&A(0, j), &A(0, j) + A.rows, [](const T& entry) { return entry == T(0); });
    }
    *info = zero ? is_zero : 0;
  });
}

template <class S, class T>
void Backend::convert(Queue& queue, MatrixView<const S> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(src.block(0, 0, dst.rows, dst.cols));
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) {
      std::transform(&src(0, j), &src(0, j) + dst.rows, &dst(0, j),
                     [](const S& entry) { return T(entry); });
    }
  });
}

template <class T>
void Backend::expect_identity(Queue& queue, MatrixView<const T> G, double tolerance,
                              std::int32_t* info) {
  queue.enqueue([=] {
    declare_read(G);
    declare_write(info, 1);
    double sum = 0;
    for (index_t j = 0; j < G.cols; ++j) {
      for (index_t i = 0; i < G.rows; ++i) sum += std::norm(G(i, j) - T(i == j ? 1 : 0));
    }
    if (*info == 0 && !(std::sqrt(sum) <= tolerance)) *info = 1;
  });
}

namespace {

/// Q1 - S = L U, in place. Returns S.
template <Scalar T>
std::vector<real_t<T>> eliminate_with_signs(MatrixView<T> Q1) {
  std::vector<real_t<T>> signs(static_cast<std::size_t>(Q1.cols));
  for (index_t k = 0; k < Q1.cols; ++k) {
    const real_t<T> sign = real_part(Q1(k, k)) < 0 ? 1 : -1;
    signs[static_cast<std::size_t>(k)] = sign;
    Q1(k, k) -= T(sign);
    for (index_t i = k + 1; i < Q1.rows; ++i) Q1(i, k) /= Q1(k, k);
    for (index_t j = k + 1; j < Q1.cols; ++j) {
      for (index_t i = k + 1; i < Q1.rows; ++i) Q1(i, j) -= Q1(i, k) * Q1(k, j);
    }
  }
  return signs;
}

}  // namespace

template <class T>
void Backend::small_cholesky(Queue& queue, MatrixView<T> A, std::int32_t* info) {
  potrf<T>(queue, A, 0, info);
  copy_lower<T>(queue, A, A);
}

template <class T>
void Backend::divide_rows(Queue& queue, MatrixView<const T> L, MatrixView<T> B) {
  trsm<T>(queue, Side::right, Op::conj_trans, L, B);
}

template <class T>
void Backend::reconstruct(Queue& queue, MatrixView<T> Q1, MatrixView<const T> Rh, MatrixView<T> Uh,
                          MatrixView<T> factor) {
  queue.enqueue([=] {
    declare_write(Q1);
    declare_read(Rh);
    declare_write(Uh);
    declare_write(factor);
    const auto signs = eliminate_with_signs(Q1);
    const auto sign = [&](index_t k) { return T(signs[static_cast<std::size_t>(k)]); };
    const index_t w = Q1.cols;
    for (index_t j = 0; j < w; ++j) {
      // factor L^H = -U S, from the first column to the last
      for (index_t i = 0; i < w; ++i) factor(i, j) = i <= j ? -Q1(i, j) * sign(j) : T(0);
      for (index_t k = 0; k < j; ++k) {
        for (index_t i = 0; i <= k; ++i) factor(i, j) -= factor(i, k) * conjugate(Q1(j, k));
      }
    }
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i < w; ++i) Uh(i, j) = i >= j ? conjugate(Q1(j, i)) : T(0);
    }
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i <= j; ++i) Q1(i, j) = sign(i) * conjugate(Rh(j, i));
    }
  });
}

template <class T>
void Backend::householder_qr(Queue& queue, MatrixView<T> A, MatrixView<T> factor,
                             MatrixView<T> scratch) {
  queue.enqueue([=] {
    declare_write(A);
    declare_write(factor);
    declare_write(scratch);
    const Sizes a(A);
    const Sizes t(factor);
    T* const tau = scratch.data;
    T* const work = scratch.data + A.cols;
    const blas_int work_size = a.cols;
    const char forward = 'F', columns = 'C';
    blas_int info = 0;  // arguments alone could be wrong
    blas<T>().geqrf(&a.rows, &a.cols, A.data, &a.ld, tau, work, &work_size, &info);
    for (index_t j = 0; j < factor.cols; ++j) std::fill_n(&factor(0, j), factor.rows, T(0));
    blas<T>().larft(&forward, &columns, &a.rows, &a.cols, A.data, &a.ld, tau, factor.data, &t.ld);
  });
}

template <class T>
void Backend::unit_lower(Queue& queue, MatrixView<T> A) {
  if (A.empty()) return;
  queue.enqueue([=] {
    declare_write(A.row_range(0, std::min(A.rows, A.cols)));
    for (index_t j = 0; j < A.cols; ++j) {
      std::fill_n(&A(0, j), std::min(j, A.rows), T(0));
      if (j < A.rows) A(j, j) = T(1);
    }
  });
}

template <class T>
void Backend::copy_band(Queue& queue, MatrixView<const T> A, MatrixView<T> band) {
  if (band.empty()) return;
  queue.enqueue([=] {
    declare_write(band);
    for (index_t j = 0; j < band.cols; ++j) {
      const index_t there = std::min(band.rows, A.rows - j);
      declare_read(&A(j, j), there);
      std::copy_n(&A(j, j), there, &band(0, j));
      std::fill_n(&band(0, j) + there, band.rows - there, T(0));
      band(0, j) = T(real_part(band(0, j)));
    }
  });
}

template <class T>
void Backend::spread_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                          MatrixView<T> to) {
  if (from.empty()) return;
  queue.enqueue([=] {
    declare_read(from);
    declare_write(to.row_range(0, places(from.rows - 1) + 1));
    for (index_t j = 0; j < from.cols; ++j) {
      for (index_t i = 0; i < from.rows; ++i) to(places(i), j) = from(i, j);
    }
  });
}

template <class T>
void Backend::collect_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                           MatrixView<T> to) {
  if (to.empty()) return;
  queue.enqueue([=] {
    declare_read(from.row_range(0, places(to.rows - 1) + 1));
    declare_write(to);
    for (index_t j = 0; j < to.cols; ++j) {
      for (index_t i = 0; i < to.rows; ++i) to(i, j) = from(places(i), j);
    }
  });
}

#define JAXMG_INSTANTIATE(T)                                                          \
  template void Backend::mark_zero(Queue&, MatrixView<const T>, std::int32_t*);       \
  template void Backend::convert(Queue&, MatrixView<const T>, MatrixView<wide_t<T>>); \
  template void Backend::unit_lower(Queue&, MatrixView<T>);                           \
  template void Backend::copy_band(Queue&, MatrixView<const T>, MatrixView<T>);       \
  template void Backend::spread_rows(Queue&, MatrixView<const T>, const TiledRows&,   \
                                     MatrixView<T>);                                  \
  template void Backend::collect_rows(Queue&, MatrixView<const T>, const TiledRows&, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
#undef JAXMG_INSTANTIATE
template void Backend::convert(Queue&, MatrixView<const double>, MatrixView<float>);
template void Backend::convert(Queue&, MatrixView<const std::complex<double>>,
                               MatrixView<std::complex<float>>);

#define JAXMG_INSTANTIATE_WIDE(W)                                                               \
  template void Backend::expect_identity(Queue&, MatrixView<const W>, double, std::int32_t*);   \
  template void Backend::small_cholesky(Queue&, MatrixView<W>, std::int32_t*);                  \
  template void Backend::divide_rows(Queue&, MatrixView<const W>, MatrixView<W>);               \
  template void Backend::reconstruct(Queue&, MatrixView<W>, MatrixView<const W>, MatrixView<W>, \
                                     MatrixView<W>);                                            \
  template void Backend::householder_qr(Queue&, MatrixView<W>, MatrixView<W>, MatrixView<W>);
JAXMG_INSTANTIATE_WIDE(double)
JAXMG_INSTANTIATE_WIDE(std::complex<double>)
#undef JAXMG_INSTANTIATE_WIDE

}  // namespace jaxmg::cpu
