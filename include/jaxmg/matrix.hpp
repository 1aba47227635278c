// Matrices whose columns are spread over a team.
#pragma once

#include <memory>
#include <vector>

#include "jaxmg/export.hpp"
#include "jaxmg/team.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg {

/// A square matrix in block columns: with n_loc = ceil(n / P), rank p holds columns p n_loc ..
/// (p + 1) n_loc - 1, each with room for P n_loc rows. What lies in rows and columns from n on is
/// never read. Owns its shards, or borrows them. Move-only.
template <Scalar T>
class JAXMG_EXPORT DistributedMatrix {
 public:
  /// An n x n matrix in storage of its own, zero. Throws InvalidArgument, OutOfMemory.
  DistributedMatrix(const Team& team, index_t n);
  /// Borrows shards[p], column-major (P n_loc) x n_loc with that leading dimension, which must
  /// outlive the matrix and all that is made of it.
  DistributedMatrix(const Team& team, index_t n, std::vector<T*> shards);

  DistributedMatrix(DistributedMatrix&&) = default;
  DistributedMatrix& operator=(DistributedMatrix&&) = default;

  const Team& team() const { return team_; }
  /// n.
  index_t order() const { return order_; }
  /// P n_loc, the rows and columns of the storage.
  index_t columns() const { return columns_; }
  index_t local_columns() const { return columns_ / team_.size(); }

  /// The columns of one rank, columns() x local_columns().
  MatrixView<T> shard(int rank) const {
    return {shards_[static_cast<std::size_t>(rank)].get(), columns_, local_columns(), columns_};
  }
  /// One element, in host memory.
  T& operator()(index_t i, index_t j) const {
    const index_t rank = j / local_columns();
    return shard(static_cast<int>(rank))(i, j % local_columns());
  }

 private:
  Team team_;
  index_t order_;
  index_t columns_;
  std::vector<std::shared_ptr<T>> shards_;
};

}  // namespace jaxmg
