// A whole matrix in host memory, as tests hold it.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "jaxmg/matrix.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg_testing {

using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::Scalar;

/// NaN, in the real part of a complex type.
template <Scalar T>
T quiet_nan() {
  return T(std::numeric_limits<real_t<T>>::quiet_NaN());
}

/// Owns rows x cols elements, column-major without gaps; zero at first.
template <Scalar T>
class HostMatrix {
 public:
  HostMatrix() = default;
  HostMatrix(index_t rows, index_t cols)
      : rows_(rows), cols_(cols), values_(static_cast<std::size_t>(rows * cols)) {}

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }

  T& operator()(index_t i, index_t j) { return values_[static_cast<std::size_t>(i + j * rows_)]; }
  const T& operator()(index_t i, index_t j) const {
    return values_[static_cast<std::size_t>(i + j * rows_)];
  }

  MatrixView<T> view() { return {values_.data(), rows_, cols_, rows_}; }
  MatrixView<const T> view() const { return {values_.data(), rows_, cols_, rows_}; }
  const std::vector<T>& values() const { return values_; }

 private:
  index_t rows_ = 0;
  index_t cols_ = 0;
  std::vector<T> values_;
};

/// Writes A's lower triangle into `target`, and NaN wherever a routine promises not to read: above
/// the diagonal and beyond A's order.
template <Scalar T>
void distribute_lower(const HostMatrix<T>& A, jaxmg::DistributedMatrix<T>& target) {
  const index_t local = target.local_columns();
  for (index_t first = 0; first < target.columns(); first += local) {
    HostMatrix<T> shard(target.columns(), local);
    std::fill_n(shard.view().data, shard.rows() * local, quiet_nan<T>());
    for (index_t j = first; j < std::min(first + local, A.cols()); ++j) {
      std::copy_n(&A(j, j), A.rows() - j, &shard(j, j - first));
    }
    target.write(0, first, shard.view());
  }
}

/// The first order() rows and columns of a distributed matrix.
template <Scalar T>
HostMatrix<T> gather(const jaxmg::DistributedMatrix<T>& source) {
  HostMatrix<T> A(source.order(), source.order());
  source.read(0, 0, A.view());
  return A;
}

}  // namespace jaxmg_testing
