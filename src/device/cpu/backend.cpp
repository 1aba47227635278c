#include "device/cpu/backend.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "device/cpu/blas.hpp"
#include "device/cpu/sanitizer.hpp"
#include "device/cpu/sizes.hpp"

namespace jaxmg::cpu {
namespace {

template <Scalar T>
constexpr char blas_op(Op op) {
  if (op == Op::none) return 'N';
  return is_complex_v<T> ? 'C' : 'T';
}

/// C := alpha a op(B) + beta C for a row a: memory-bound, and half the time of gemm as a gemv.
/// BLAS has no product with conj(B), so complex conj_trans stays a gemm.
template <Scalar T>
bool row_times_matrix(Op op_b, T alpha, MatrixView<const T> a, MatrixView<const T> B, T beta,
                      MatrixView<T> c) {
  if (c.rows != 1 || (is_complex_v<T> && op_b == Op::conj_trans)) return false;
  if (B.empty()) return false;  // gemv would leave c as it is
  const Sizes b(B);
  const blas_int inc_a = narrow(a.ld), inc_c = narrow(c.ld);
  const char trans = op_b == Op::none ? 'T' : 'N';
  blas<T>().gemv(&trans, &b.rows, &b.cols, &alpha, B.data, &b.ld, a.data, &inc_a, &beta, c.data,
                 &inc_c);
  return true;
}

/// The order of the first minor of L whose diagonal entry is not finite and positive, or 0.
template <Scalar T>
index_t first_bad_diagonal(MatrixView<const T> L) {
  for (index_t i = 0; i < L.cols; ++i) {
    const real_t<T> diagonal = real_part(L(i, i));
    if (!(std::isfinite(diagonal) && diagonal > 0)) return i + 1;
  }
  return 0;
}

}  // namespace

template <class T>
void Backend::copy(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(src.block(0, 0, dst.rows, dst.cols));
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) {
      std::memcpy(&dst(0, j), &src(0, j), static_cast<std::size_t>(dst.rows) * sizeof(T));
    }
  });
}

template <class T>
void Backend::add(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(src.block(0, 0, dst.rows, dst.cols));
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) {
      for (index_t i = 0; i < dst.rows; ++i) dst(i, j) += src(i, j);
    }
  });
}

template <class T>
void Backend::fill(Queue& queue, T value, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) std::fill_n(&dst(0, j), dst.rows, value);
  });
}

template <class T>
void Backend::copy_lower(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read_lower(src.block(0, 0, dst.rows, dst.cols));
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) {
      std::fill_n(&dst(0, j), j, T(0));
      std::copy_n(&src(j, j), dst.rows - j, &dst(j, j));
    }
  });
}

template <class T>
void Backend::conj_transpose(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(src.block(0, 0, dst.cols, dst.rows));
    declare_write(dst);
    constexpr index_t block = 16;  // whole cache lines on both sides
    for (index_t i1 = 0; i1 < dst.rows; i1 += block) {
      const index_t i2 = std::min(i1 + block, dst.rows);
      for (index_t j = 0; j < dst.cols; ++j) {
        for (index_t i = i1; i < i2; ++i) dst(i, j) = conjugate(src(j, i));
      }
    }
  });
}

template <class T>
void Backend::make_hermitian(Queue& queue, MatrixView<T> A) {
  if (A.empty()) return;
  queue.enqueue([=] {
    declare_read_lower(A);
    declare_write(A);
    for (index_t j = 0; j < A.cols; ++j) {
      A(j, j) = T(real_part(A(j, j)));
      for (index_t i = 0; i < j; ++i) A(i, j) = conjugate(A(j, i));
    }
  });
}

template <class T>
void Backend::fill_nan_if(Queue& queue, const std::int32_t* info, MatrixView<T> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(info, 1);
    if (*info == 0) return;
    declare_write(dst);
    const T nan(std::numeric_limits<real_t<T>>::quiet_NaN());
    for (index_t j = 0; j < dst.cols; ++j) std::fill_n(&dst(0, j), dst.rows, nan);
  });
}

template <class T>
void Backend::gemm(Queue& queue, Op op_a, Op op_b, T alpha, MatrixView<const T> A,
                   MatrixView<const T> B, T beta, MatrixView<T> C) {
  const index_t inner = op_a == Op::none ? A.cols : A.rows;
  if (C.empty() || (inner == 0 && beta == T(1))) return;
  queue.enqueue([=] {
    declare_read(A);
    declare_read(B);
    declare_write(C);
    if (op_a == Op::none && row_times_matrix(op_b, alpha, A, B, beta, C)) return;
    const char trans_a = blas_op<T>(op_a), trans_b = blas_op<T>(op_b);
    const Sizes a(A);
    const Sizes b(B);
    const Sizes c(C);
    const blas_int k = narrow(inner);
    blas<T>().gemm(&trans_a, &trans_b, &c.rows, &c.cols, &k, &alpha, A.data, &a.ld, B.data, &b.ld,
                   &beta, C.data, &c.ld);
  });
}

template <class T>
void Backend::trapezoid_update(Queue& queue, MatrixView<const T> W, MatrixView<T> C,
                               real_t<T> alpha) {
  if (C.empty() || W.cols == 0) return;
  const MatrixView<T> C1 = C.row_range(0, C.cols);
  const MatrixView<const T> W1 = W.row_range(0, C.cols);
  queue.enqueue([=] {
    declare_read(W1);
    declare_write_lower(C1);
    const char lower = 'L', no = 'N';
    const Sizes w(W1);
    const Sizes c(C1);
    const real_t<T> one(1);
    blas<T>().herk(&lower, &no, &c.cols, &w.cols, &alpha, W1.data, &w.ld, &one, C1.data, &c.ld);
  });
  gemm<T>(queue, Op::none, Op::conj_trans, T(alpha), W.row_range(C.cols, C.rows), W1, T(1),
          C.row_range(C.cols, C.rows));
}

template <class T>
void Backend::trsm(Queue& queue, Side side, Op op, MatrixView<const T> L, MatrixView<T> B) {
  if (B.empty()) return;
  queue.enqueue([=] {
    declare_read_lower(L);
    declare_write(B);
    const char where = side == Side::left ? 'L' : 'R', lower = 'L', trans = blas_op<T>(op),
               diagonal = 'N';
    const Sizes l(L);
    const Sizes b(B);
    const T one(1);
    blas<T>().trsm(&where, &lower, &trans, &diagonal, &b.rows, &b.cols, &one, L.data, &l.ld, B.data,
                   &b.ld);
  });
}

template <class T>
void Backend::potrf(Queue& queue, MatrixView<T> A, index_t first_row, std::int32_t* info) {
  if (A.empty()) return;
  queue.enqueue([=] {
    declare_write_lower(A);
    declare_write(info, 1);
    const char lower = 'L';
    const Sizes a(A);
    blas_int failed = 0;
    blas<T>().potrf(&lower, &a.cols, A.data, &a.ld, &failed);
    // Not every potrf notices a NaN: the factor's diagonal must be finite and positive.
    const index_t good = failed > 0 ? failed - 1 : A.cols;
    const index_t bad = first_bad_diagonal(MatrixView<const T>(A).column_range(0, good));
    const index_t order = bad > 0 ? bad : failed;
    if (order > 0 && *info == 0) *info = static_cast<std::int32_t>(first_row + order);
  });
}

template <class T>
void Backend::note_failure(Queue& queue, MatrixView<const T> L, index_t first_row,
                           std::int32_t* info) {
  if (L.empty()) return;
  queue.enqueue([=] {
    declare_write(info, 1);
    for (index_t i = 0; i < L.cols; ++i) declare_read(&L(i, i), 1);
    const index_t bad = first_bad_diagonal(L);
    if (bad > 0 && *info == 0) *info = static_cast<std::int32_t>(first_row + bad);
  });
}

template <class T>
void Backend::invert_diagonal_blocks(Queue& queue, MatrixView<const T> L, index_t width,
                                     MatrixView<T> X) {
  for (index_t b = 0; b < L.cols; b += width) {
    const index_t w = std::min(width, L.cols - b);
    const MatrixView<T> inverse = X.block(0, b, w, w);
    copy_lower<T>(queue, L.block(b, b, w, w), inverse);
    queue.enqueue([=] {
      declare_write_lower(inverse);
      const char lower = 'L', diagonal = 'N';
      const Sizes x(inverse);
      blas_int singular = 0;  // potrf has told already
      blas<T>().trtri(&lower, &diagonal, &x.cols, inverse.data, &x.ld, &singular);
    });
  }
}

template <class T>
void Backend::add_logdet(Queue& queue, MatrixView<const T> L, double* sum) {
  if (L.empty()) return;
  queue.enqueue([=] {
    double log_diagonal = 0;
    declare_write(sum, 1);
    for (index_t i = 0; i < L.cols; ++i) {
      declare_read(&L(i, i), 1);
      log_diagonal += std::log(static_cast<double>(real_part(L(i, i))));
    }
    *sum += 2 * log_diagonal;
  });
}

void Backend::first_failure(Queue& queue, const std::int32_t* infos, int count, std::int32_t* out) {
  queue.enqueue([=] {
    declare_read(infos, count);
    declare_write(out, 1);
    std::int32_t first = 0;
    for (int i = 0; i < count; ++i) {
      if (infos[i] != 0 && (first == 0 || infos[i] < first)) first = infos[i];
    }
    *out = first;
  });
}

void Backend::total(Queue& queue, const double* sums, int count, double* out) {
  queue.enqueue([=] {
    declare_read(sums, count);
    declare_write(out, 1);
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += sums[i];
    *out = sum;
  });
}

template <class R>
void Backend::round_to(Queue& queue, const double* sum, R* rounded) {
  queue.enqueue([=] {
    declare_read(sum, 1);
    declare_write(rounded, 1);
    *rounded = static_cast<R>(*sum);
  });
}

template <class X>
void Backend::download(Queue& queue, const X* src, index_t count, X* host) {
  if (count == 0) return;
  queue.enqueue([=] {
    declare_read(src, count);
    std::copy_n(src, count, host);
  });
}

template <class X>
void Backend::upload(Queue& queue, std::vector<X> host, X* dst) {
  if (host.empty()) return;
  queue.enqueue([host = std::move(host), dst] {
    declare_write(dst, static_cast<index_t>(host.size()));
    std::copy(host.begin(), host.end(), dst);
  });
}

#define JAXMG_INSTANTIATE(T)                                                                      \
  template void Backend::copy(Queue&, MatrixView<const T>, MatrixView<T>);                        \
  template void Backend::fill(Queue&, T, MatrixView<T>);                                          \
  template void Backend::fill_nan_if(Queue&, const std::int32_t*, MatrixView<T>);                 \
  template void Backend::add(Queue&, MatrixView<const T>, MatrixView<T>);                         \
  template void Backend::copy_lower(Queue&, MatrixView<const T>, MatrixView<T>);                  \
  template void Backend::conj_transpose(Queue&, MatrixView<const T>, MatrixView<T>);              \
  template void Backend::make_hermitian(Queue&, MatrixView<T>);                                   \
  template void Backend::gemm(Queue&, Op, Op, T, MatrixView<const T>, MatrixView<const T>, T,     \
                              MatrixView<T>);                                                     \
  template void Backend::trapezoid_update(Queue&, MatrixView<const T>, MatrixView<T>, real_t<T>); \
  template void Backend::trsm(Queue&, Side, Op, MatrixView<const T>, MatrixView<T>);              \
  template void Backend::potrf(Queue&, MatrixView<T>, index_t, std::int32_t*);                    \
  template void Backend::note_failure(Queue&, MatrixView<const T>, index_t, std::int32_t*);       \
  template void Backend::invert_diagonal_blocks(Queue&, MatrixView<const T>, index_t,             \
                                                MatrixView<T>);                                   \
  template void Backend::add_logdet(Queue&, MatrixView<const T>, double*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::copy(Queue&, MatrixView<const std::int32_t>, MatrixView<std::int32_t>);
template void Backend::copy(Queue&, MatrixView<const SecularRoot>, MatrixView<SecularRoot>);
template void Backend::fill(Queue&, std::int32_t, MatrixView<std::int32_t>);
template void Backend::round_to(Queue&, const double*, float*);
template void Backend::round_to(Queue&, const double*, double*);

#define JAXMG_INSTANTIATE_HOST(X)                                 \
  template void Backend::download(Queue&, const X*, index_t, X*); \
  template void Backend::upload(Queue&, std::vector<X>, X*);
JAXMG_INSTANTIATE_HOST(float)
JAXMG_INSTANTIATE_HOST(double)
JAXMG_INSTANTIATE_HOST(std::int32_t)
JAXMG_INSTANTIATE_HOST(index_t)
JAXMG_INSTANTIATE_HOST(Rotation)

}  // namespace jaxmg::cpu
