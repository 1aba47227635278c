// Band matrix to tridiagonal matrix by bulge chasing; its reflectors are spread over the team.
#pragma once

#include <array>

#include "device/contract_bulge_chasing.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Scratch of bulge_chasing(). On ranks other than 0 all of it is empty.
template <Scalar T>
struct BulgeChasingWork {
  MatrixView<T> band;                    ///< 2 b x n: the band and its bulges
  std::array<MatrixView<T>, 2> staging;  ///< b x most_columns() each, if others keep chunks as well
  ChaseScratch scratch;                  ///< for up to n - 1 sweeps
};

/// What becomes of a Hermitian band matrix, on every rank.
template <Scalar T>
struct TridiagonalForm {
  real_t<T>* d = nullptr;    ///< n: the diagonal
  real_t<T>* e = nullptr;    ///< n - 1: the off-diagonal, not negative
  T* phases = nullptr;       ///< n, of modulus 1; null for eigenvalues alone
  MatrixView<T> reflectors;  ///< b x columns_of_rank(p): the chunks that this rank keeps
};

/// The steps of bulge_chasing().
template <class B, Scalar T>
requires BulgeChasingBackendFor<B, T>
class BulgeChasing {
 public:
  BulgeChasing(Rank<B>& rank, const BulgeSweeps& sweeps, const BulgeChasingWork<T>& work,
               const TridiagonalForm<T>& form)
      : rank_(rank),
        sweeps_(sweeps),
        work_(work),
        form_(form),
        keeps_reflectors_(form.phases != nullptr),
        tags_(rank.reserve(3 + 2 * sweeps.chunks())) {}

  void run(MatrixView<const T> lower) {
    rank_.copies().wait(rank_.panel().record());
    if (rank_.index() == 0) {
      widen(lower);
      if (keeps_reflectors_) {
        for (index_t c = 0; c < sweeps_.chunks(); ++c) chase(c);
      } else {
        B::template chase<T>(rank_.panel(), work_.band, 0, sweeps_.sweeps(), {}, work_.scratch);
      }
      B::template extract_tridiagonal<T>(rank_.panel(), work_.band, form_.d, form_.e, form_.phases);
    } else if (keeps_reflectors_) {
      for (index_t c = rank_.index(); c < sweeps_.chunks(); c += rank_.size()) collect(c);
    }
    const index_t n = sweeps_.order();
    if (n > 0) share(tags_, form_.d, n);
    if (n > 1) share(tags_ + 1, form_.e, n - 1);
    if (n > 0 && keeps_reflectors_) share(tags_ + 2, form_.phases, n);
    rank_.panel().wait(rank_.copies().record());
    rank_.barrier(rank_.panel());  // nobody reads rank 0's memory any more
  }

 private:
  index_t chased_tag(index_t c) const { return tags_ + 3 + 2 * c; }
  index_t collected_tag(index_t c) const { return chased_tag(c) + 1; }

  MatrixView<T> kept(index_t c) const {
    const index_t begin = sweeps_.column_offset(c);
    return form_.reflectors.column_range(begin, begin + sweeps_.columns(c));
  }

  /// Room for the bulges, which a band of b subdiagonals has not.
  void widen(MatrixView<const T> lower) {
    const index_t rows = sweeps_.bandwidth() + 1;
    B::template fill<T>(rank_.panel(), T(0), work_.band);
    B::template copy<T>(rank_.panel(), lower.row_range(0, rows), work_.band.row_range(0, rows));
  }

  /// Chunk c, for its holder to collect.
  void chase(index_t c) {
    const bool stays = sweeps_.holder(c) == 0;
    const MatrixView<T> reflectors = stays ? kept(c) : staging(c);
    B::template chase<T>(rank_.panel(), work_.band, sweeps_.first(c), sweeps_.sweeps(c), reflectors,
                         work_.scratch);
    if (!stays) rank_.post(chased_tag(c), reflectors.data, rank_.panel());
  }

  /// Where chunk c waits for its holder, once what was there before has been collected.
  MatrixView<T> staging(index_t c) {
    index_t& occupant = staged_[next_];
    if (occupant >= 0) {
      rank_.wait_for(sweeps_.holder(occupant), collected_tag(occupant), rank_.panel());
    }
    occupant = c;
    const MatrixView<T> slot = work_.staging[next_].column_range(0, sweeps_.columns(c));
    next_ = (next_ + 1) % staged_.size();
    return slot;
  }

  void collect(index_t c) {
    auto& copies = rank_.copies();
    const MatrixView<T> mine = kept(c);
    const T* theirs = rank_.template take<T>(0, chased_tag(c), copies);
    rank_.template read<T>(0, copies, {theirs, mine.rows, mine.cols, mine.rows}, mine);
    rank_.post(collected_tag(c), nullptr, copies);
  }

  /// Rank 0's `values` to all.
  template <class S>
  void share(index_t tag, S* values, index_t count) {
    if (rank_.index() == 0) {
      rank_.post(tag, values, rank_.panel());
      return;
    }
    const S* theirs = rank_.template take<S>(0, tag, rank_.copies());
    rank_.template read<S>(0, rank_.copies(), {theirs, count, 1, count}, {values, count, 1, count});
  }

  Rank<B>& rank_;
  const BulgeSweeps& sweeps_;
  const BulgeChasingWork<T>& work_;
  const TridiagonalForm<T>& form_;
  const bool keeps_reflectors_;
  const index_t tags_;
  std::array<index_t, 2> staged_ = {-1, -1};  ///< the chunk in each staging slot
  std::size_t next_ = 0;
};

/// M = Q2 Tri(d, e) Q2^H for a Hermitian band matrix M of order n and bandwidth b: the second stage
/// of a two-stage tridiagonal reduction (LAPACK's sb2st and hb2st; Lang, SIAM J. Sci. Comput. 14
/// (1993); Haidar, Ltaief and Dongarra, SC 2011). e is not negative: with H_1 H_2 .. the reflectors
/// in the order in which they are made, Q2 = H_1 H_2 .. diag(phases).
///
/// Sweep s annihilates column s below its subdiagonal by a reflector on rows s + 1 .. s + b and
/// chases the bulge that this makes down the band, b rows further with each level: the block left
/// of the diagonal block of level k is multiplied by the reflector of level k - 1 from the right,
/// its first column is annihilated, and the new reflector is applied to its other columns and to
/// both sides of the diagonal block. The rest of the bulge is left to the next sweep, whose blocks
/// are one row and column further: the band keeps 2 b - 1 subdiagonals.
///
/// Rank 0 does all of this: 6 b n^2 flops (times 4 for complex), n^2 / 2 b steps that read and
/// write 3 b^2 / 2 elements each, in queue operations of a chunk of sweeps. A chunk's reflectors
/// leave for rank c mod P while the next chunk is chased, n^2 / 2 elements in all. On a GPU (an
/// estimate), where a thread block works on a sweep and the next one follows two levels behind, the
/// critical path is 2 n + n / b steps. Each is a chain of a few reductions over b elements, and two
/// of them a trip to the L2 cache, which holds a band of 2 b n elements: latency bounds it, not
/// flops or memory. A chunk's last sweep ends alone, which makes the chunk 1 + n / (2 b chunk)
/// times as long: chunks should not be much shorter than n / b.
///
/// Memory: some n (n + chunk) / 2 P elements for the reflectors on every rank, n chunk at most more
/// on rank 0 than on the last one; on rank 0 also 2 b n for the band, chase_letters(), and, where P
/// > 1, 2 n chunk for two chunks on their way. Eigenvalues alone (no `phases`) keep no reflector
/// and send none.
///
/// `lower`, on rank 0, is the lower triangle, (i, j) at lower(i - j, j), of (b + 1) x n; diagonals
/// are taken as real. It, `work` and what `form` points to must be ready for rank.panel(); so is
/// the result then, and no peer reads this rank's memory any more. All ranks call, with the same
/// `sweeps`. NaN or infinity in M makes NaN in d, e or both, in the time of any other matrix.
template <class B, Scalar T>
requires BulgeChasingBackendFor<B, T>
void bulge_chasing(Rank<B>& rank, const BulgeSweeps& sweeps, MatrixView<const T> lower,
                   const BulgeChasingWork<T>& work, const TridiagonalForm<T>& form) {
  BulgeChasing<B, T>(rank, sweeps, work, form).run(lower);
}

}  // namespace jaxmg
