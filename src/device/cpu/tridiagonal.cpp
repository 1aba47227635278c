// The tridiagonal eigensolver's operations: plain loops in double, LAPACK's steqr for the leaves.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "device/cpu/backend.hpp"
#include "device/cpu/blas.hpp"
#include "device/cpu/sanitizer.hpp"
#include "device/sturm.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cpu {

template <class R>
void Backend::solve_leaves(Queue& queue, const index_t* borders, index_t count, double* d,
                           double* e, MatrixView<R> Q, std::int32_t* info) {
  if (count == 0) return;
  queue.enqueue([=] {
    declare_read(borders, count + 1);
    std::array<double, widest_leaf * widest_leaf> vectors;
    std::array<double, 2 * widest_leaf> work;
    for (index_t i = 0; i < count; ++i) {
      const index_t first = borders[i], size = borders[i + 1] - first;
      if (size > widest_leaf) throw Error("a leaf is wider than a tile operation takes");
      const MatrixView<R> window = Q.block(first - borders[0], first - borders[0], size, size);
      declare_write(d + first, size);
      declare_write(e + first, size - 1);
      declare_write(window);
      const char from_identity = 'I';
      const auto n = static_cast<blas_int>(size);
      blas_int failed = 0;
      blas<double>().steqr(&from_identity, &n, d + first, e + first, vectors.data(), &n,
                           work.data(), &failed);
      if (failed != 0) {
        declare_write(info, 1);
        *info = static_cast<std::int32_t>(first + 1);
      }
      for (index_t j = 0; j < size; ++j) {
        std::copy_n(&vectors[static_cast<std::size_t>(j * size)], size, &window(0, j));
      }
    }
  });
}

template <class R>
void Backend::rotate_columns(Queue& queue, const Rotation* rotations, index_t count,
                             MatrixView<R> Q) {
  if (count == 0 || Q.rows == 0) return;
  queue.enqueue([=] {
    declare_read(rotations, count);
    for (index_t r = 0; r < count; ++r) {
      const auto [first, second, cosine, sine] = rotations[r];
      const auto c = static_cast<R>(cosine), s = static_cast<R>(sine);
      declare_write(Q.column_range(first, first + 1));
      declare_write(Q.column_range(second, second + 1));
      for (index_t i = 0; i < Q.rows; ++i) {
        const R x = Q(i, first), y = Q(i, second);
        Q(i, first) = c * x + s * y;
        Q(i, second) = c * y - s * x;
      }
    }
  });
}

template <class R>
void Backend::gather_columns(Queue& queue, MatrixView<const R> src, const index_t* columns,
                             MatrixView<R> dst) {
  if (dst.empty()) return;
  queue.enqueue([=] {
    declare_read(columns, dst.cols);
    declare_write(dst);
    for (index_t j = 0; j < dst.cols; ++j) {
      const MatrixView<const R> column = src.column_range(columns[j], columns[j] + 1);
      declare_read(column);
      std::copy_n(column.data, dst.rows, &dst(0, j));
    }
  });
}

void Backend::solve_secular(Queue& queue, const SecularEquation& equation, index_t first,
                            index_t last, SecularRoot* roots, std::int32_t* info) {
  if (first >= last) return;
  queue.enqueue([=] {
    declare_read(equation.poles, equation.order);
    declare_read(equation.z, equation.order);
    declare_write(roots + first, last - first);
    for (index_t j = first; j < last; ++j) {
      if (find_root(Alone{}, equation, j, roots[j])) continue;
      declare_write(info, 1);
      *info = 1;
    }
  });
}

void Backend::refine_weights(Queue& queue, const SecularEquation& equation,
                             const SecularRoot* roots, index_t first, index_t last,
                             double* weights) {
  if (first >= last) return;
  queue.enqueue([=] {
    declare_read(equation.poles, equation.order);
    declare_read(equation.z, equation.order);
    declare_read(roots, equation.order);
    declare_write(weights + first, last - first);
    for (index_t i = first; i < last; ++i) weights[i] = refined_weight(Alone{}, equation, roots, i);
  });
}

template <class R>
void Backend::secular_vectors(Queue& queue, const SecularEquation& equation,
                              const SecularRoot* roots, const index_t* rows, index_t first,
                              double* values, MatrixView<R> S) {
  if (S.empty()) return;
  queue.enqueue([=] {
    const index_t order = equation.order;
    declare_read(equation.poles, order);
    declare_read(equation.z, order);
    declare_read(roots + first, S.cols);
    declare_read(rows, order);
    declare_write(values, S.cols);
    declare_write(S);
    std::vector<double> column(static_cast<std::size_t>(order));
    for (index_t j = 0; j < S.cols; ++j) {
      const SecularRoot root = roots[first + j];
      values[j] = equation.poles[root.origin] + root.offset;
      double square = 0;
      for (index_t i = 0; i < order; ++i) {
        const double s = equation.z[i] / difference(equation.poles, i, root);
        column[static_cast<std::size_t>(i)] = s;
        square += s * s;
      }
      const double scale = 1 / std::sqrt(square);
      for (index_t i = 0; i < order; ++i) {
        S(rows[i], j) = static_cast<R>(scale * column[static_cast<std::size_t>(i)]);
      }
    }
  });
}

template <class R>
void Backend::bisect(Queue& queue, const R* d, const R* e, index_t n, index_t first, index_t last,
                     R* w, std::int32_t* info) {
  if (n == 0) return;
  queue.enqueue([=] {
    declare_read(d, n);
    declare_read(e, n - 1);
    declare_write(w, last - first);
    const SturmSequence<R> sequence(Alone{}, d, e, n);
    if (!sequence.finite()) {
      declare_write(info, 1);
      *info = 1;
      std::fill_n(w, last - first, std::numeric_limits<R>::quiet_NaN());
      return;
    }
    constexpr int lanes = 8;  // as many as hide the latency of a division
    for (index_t j = first; j < last; j += lanes) {
      sequence.template eigenvalues<lanes>(j, std::min<index_t>(lanes, last - j), w + (j - first));
    }
  });
}

#define JAXMG_INSTANTIATE(R)                                                                 \
  template void Backend::solve_leaves(Queue&, const index_t*, index_t, double*, double*,     \
                                      MatrixView<R>, std::int32_t*);                         \
  template void Backend::rotate_columns(Queue&, const Rotation*, index_t, MatrixView<R>);    \
  template void Backend::gather_columns(Queue&, MatrixView<const R>, const index_t*,         \
                                        MatrixView<R>);                                      \
  template void Backend::secular_vectors(Queue&, const SecularEquation&, const SecularRoot*, \
                                         const index_t*, index_t, double*, MatrixView<R>);   \
  template void Backend::bisect(Queue&, const R*, const R*, index_t, index_t, index_t, R*,   \
                                std::int32_t*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)

}  // namespace jaxmg::cpu
