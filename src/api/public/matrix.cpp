#include "jaxmg/matrix.hpp"

#include <algorithm>

#include "api/public/engine.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg {
namespace {

index_t storage_columns(const Team& team, index_t n) {
  if (n < 0) throw InvalidArgument("n: expected 0 or more, got " + std::to_string(n));
  return (n + team.size() - 1) / team.size() * team.size();
}

/// A block that is to begin at (i, j) of a matrix must lie in its storage.
void check_block(index_t i, index_t j, index_t rows, index_t cols, index_t columns) {
  if (i >= 0 && j >= 0 && rows <= columns - i && cols <= columns - j) return;
  throw InvalidArgument("block: expected one within " + std::to_string(columns) + " x " +
                        std::to_string(columns) + ", got " + std::to_string(rows) + " x " +
                        std::to_string(cols) + " at (" + std::to_string(i) + ", " +
                        std::to_string(j) + ")");
}

/// Calls copy(rank, there, here) on every rank that holds columns of `block`, which begins at
/// (i, j) of the matrix: `here` is its part of the block, `there` the same part of its shard.
template <Scalar T, class U, class Copy>
void for_each_part(const DistributedMatrix<T>& matrix, index_t i, index_t j, MatrixView<U> block,
                   const Copy& copy) {
  check_block(i, j, block.rows, block.cols, matrix.columns());
  if (block.empty()) return;
  with_engine(matrix.team(), [&](const auto& engine) {
    engine.run([&](auto& rank) {
      const index_t n_loc = matrix.local_columns(), start = rank.index() * n_loc;
      const index_t first = std::max(j, start), last = std::min(j + block.cols, start + n_loc);
      if (first >= last) return;
      copy(rank, matrix.shard(rank.index()).block(i, first - start, block.rows, last - first),
           block.column_range(first - j, last - j));
    });
  });
}

}  // namespace

template <Scalar T>
DistributedMatrix<T>::DistributedMatrix(const Team& team, index_t n)
    : team_(team), order_(n), columns_(storage_columns(team, n)) {
  with_engine(team, [&](const auto& engine) {
    for (int p = 0; p < team.size(); ++p) {
      shards_.push_back(engine.template allocate<T>(p, columns_ * local_columns()));
    }
  });
}

template <Scalar T>
DistributedMatrix<T>::DistributedMatrix(const Team& team, index_t n, std::vector<T*> shards)
    : team_(team), order_(n), columns_(storage_columns(team, n)) {
  if (shards.size() != static_cast<std::size_t>(team.size())) {
    throw InvalidArgument("shards: expected one for each of " + std::to_string(team.size()) +
                          " ranks, got " + std::to_string(shards.size()));
  }
  with_engine(team, [&](const auto& engine) {
    for (int p = 0; p < team.size(); ++p) {
      T* const shard = shards[static_cast<std::size_t>(p)];
      engine.check_memory(p, shard);
      shards_.emplace_back(shard, [](T*) {});
    }
  });
}

template <Scalar T>
void DistributedMatrix<T>::write(index_t i, index_t j, MatrixView<const T> block) {
  for_each_part(*this, i, j, block,
                []<class B>(Rank<B>& rank, MatrixView<T> there, MatrixView<const T> here) {
                  B::template copy<T>(rank.copies(), here, there);
                });
}

template <Scalar T>
void DistributedMatrix<T>::read(index_t i, index_t j, MatrixView<T> block) const {
  for_each_part(*this, i, j, block,
                []<class B>(Rank<B>& rank, MatrixView<T> there, MatrixView<T> here) {
                  B::template copy<T>(rank.copies(), there, here);
                });
}

template class DistributedMatrix<float>;
template class DistributedMatrix<double>;
template class DistributedMatrix<std::complex<float>>;
template class DistributedMatrix<std::complex<double>>;

}  // namespace jaxmg
