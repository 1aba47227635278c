// Matrices whose columns are spread over a team.
#pragma once

#include <memory>
#include <vector>

#include "jaxmg/export.hpp"
#include "jaxmg/team.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg {

/// A square matrix in block columns: with n_loc = ceil(n / P), rank p holds columns p n_loc ..
/// (p + 1) n_loc - 1, each with room for P n_loc rows, in host memory or in that of the rank's GPU.
/// What lies in rows and columns from n on is never read. Owns its shards, or borrows them.
/// Move-only.
template <Scalar T>
class JAXMG_EXPORT DistributedMatrix {
 public:
  /// An n x n matrix in storage of its own, zero. Throws InvalidArgument, OutOfMemory.
  DistributedMatrix(const Team& team, index_t n);
  /// Borrows shards[p], column-major (P n_loc) x n_loc with that leading dimension, which must
  /// outlive the matrix and all that is made of it. On GPUs shards[p] is memory of rank p's GPU,
  /// and work on it that is still under way is not waited for. Throws InvalidArgument.
  DistributedMatrix(const Team& team, index_t n, std::vector<T*> shards);

  DistributedMatrix(DistributedMatrix&&) = default;
  DistributedMatrix& operator=(DistributedMatrix&&) = default;

  const Team& team() const { return team_; }
  /// n.
  index_t order() const { return order_; }
  /// P n_loc, the rows and columns of the storage.
  index_t columns() const { return columns_; }
  index_t local_columns() const { return columns_ / team_.size(); }

  /// Copies `block`, in host memory, to rows i .. and columns j .. of the matrix, on whichever
  /// ranks hold them. A call costs a thread a rank: few and large blocks are best. Throws
  /// InvalidArgument for a block that does not lie in the storage.
  void write(index_t i, index_t j, MatrixView<const T> block);
  /// The other way: fills `block`, in host memory.
  void read(index_t i, index_t j, MatrixView<T> block) const;

  /// The columns of one rank, columns() x local_columns(), where they are: on GPUs the host must
  /// not touch them.
  MatrixView<T> shard(int rank) const {
    return {shards_[static_cast<std::size_t>(rank)].get(), columns_, local_columns(), columns_};
  }

 private:
  Team team_;
  index_t order_;
  index_t columns_;
  std::vector<std::shared_ptr<T>> shards_;
};

}  // namespace jaxmg
