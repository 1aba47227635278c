// A rectangular window on column-major storage.
#pragma once

#include "jaxmg/types.hpp"

namespace jaxmg {

/// `rows` x `cols` elements, element (i, j) at `data[i + j * ld]`. Owns nothing.
template <class T>
struct MatrixView {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;

  MatrixView() = default;
  MatrixView(T* data_, index_t rows_, index_t cols_, index_t ld_)
      : data(data_), rows(rows_), cols(cols_), ld(ld_) {}

  /// A view that may write is also one that may read.
  operator MatrixView<const T>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data, rows, cols, ld};
  }

  T& operator()(index_t i, index_t j) const { return data[i + j * ld]; }

  bool empty() const { return rows <= 0 || cols <= 0; }

  MatrixView block(index_t i, index_t j, index_t m, index_t n) const {
    return {data + i + j * ld, m, n, ld};
  }
  MatrixView row_range(index_t begin, index_t end) const {
    return block(begin, 0, end - begin, cols);
  }
  MatrixView column_range(index_t begin, index_t end) const {
    return block(0, begin, rows, end - begin);
  }
};

}  // namespace jaxmg
