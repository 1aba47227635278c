// How what a rank reads from another process is cut into pieces. The same on both sides.
#pragma once

#include <algorithm>

#include "jaxmg/types.hpp"

namespace jaxmg {

/// A part of columns of bytes: rows from `row` on, `height` of them, of `columns` columns from
/// `column` on. It lies packed where it passes.
struct ReadPiece {
  index_t row, height;
  index_t column, columns;
};

/// Columns of bytes cut into pieces of at most `most` bytes: whole columns if one fits, else parts
/// of one column.
class ReadPieces {
 public:
  ReadPieces(index_t height, index_t columns, index_t most)
      : height_(height),
        columns_(height > 0 ? columns : 0),
        rows_(std::max<index_t>(1, std::min(height, most))),
        at_once_(height > 0 ? std::max<index_t>(1, most / height) : 1) {}

  index_t count() const { return down() * across(); }

  ReadPiece piece(index_t k) const {
    const index_t row = k % down() * rows_, column = k / down() * at_once_;
    return {row, std::min(rows_, height_ - row), column, std::min(at_once_, columns_ - column)};
  }

 private:
  index_t down() const { return height_ > 0 ? (height_ + rows_ - 1) / rows_ : 0; }
  index_t across() const { return (columns_ + at_once_ - 1) / at_once_; }

  index_t height_, columns_;
  index_t rows_;     // of a piece
  index_t at_once_;  // columns of a piece
};

}  // namespace jaxmg
