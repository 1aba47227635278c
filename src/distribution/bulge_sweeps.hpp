// Which reflectors bulge chasing makes, which rank keeps them, and in which order they are applied:
// arithmetic only.
#pragma once

#include <algorithm>
#include <string>

#include "jaxmg/error.hpp"
#include "jaxmg/types.hpp"

namespace jaxmg {

/// The sweeps of bulge chasing on a band matrix of order n and bandwidth b, in chunks.
///
/// Sweep s annihilates column s below the subdiagonal. Its reflector of level k acts on the rows
/// s + 1 + k b .. s + (k + 1) b, clipped at n; a reflector of one row is none. A chunk is a number
/// of neighbouring sweeps; chunk c is kept by rank c mod P, its reflectors in columns of length b,
/// level by level: sweep s of level k in column (s - first(c)) + sweeps(c) k.
class BulgeSweeps {
 public:
  /// `bandwidth` at least 1, of any size: what counts is min(b, n - 1). `chunk`: sweeps in a chunk.
  BulgeSweeps(index_t order, index_t bandwidth, int ranks, index_t chunk)
      : order_(order),
        bandwidth_(std::max<index_t>(1, std::min(bandwidth, order - 1))),
        chunk_(chunk),
        ranks_(ranks) {
    require(order >= 0, "order: expected at least 0, got ", order);
    require(bandwidth >= 1, "bandwidth: expected at least 1, got ", bandwidth);
    require(chunk >= 1, "chunk: expected at least 1 sweep, got ", chunk);
    require(ranks >= 1, "ranks: expected at least 1, got ", ranks);
  }

  index_t order() const { return order_; }
  /// b, at least 1; less than the order if that is more than 1.
  index_t bandwidth() const { return bandwidth_; }
  int ranks() const { return ranks_; }

  /// A matrix of bandwidth 1 is tridiagonal already.
  index_t sweeps() const { return bandwidth_ == 1 ? 0 : order_ - 2; }
  /// Reflectors of sweep s, one a level.
  index_t levels_of_sweep(index_t s) const {
    return (order_ - 2 - s + bandwidth_ - 1) / bandwidth_;
  }

  index_t chunks() const { return (sweeps() + chunk_ - 1) / chunk_; }
  index_t first(index_t c) const { return c * chunk_; }
  index_t sweeps(index_t c) const { return std::min(chunk_, sweeps() - first(c)); }
  /// Levels of the chunk's first sweep, which has the most; what later ones lack is kept as zeros.
  index_t levels(index_t c) const { return levels_of_sweep(first(c)); }
  index_t columns(index_t c) const { return sweeps(c) * levels(c); }
  /// Columns of the largest chunk, the first: about n chunk / b.
  index_t most_columns() const { return chunks() == 0 ? 0 : columns(0); }

  int holder(index_t c) const { return static_cast<int>(c % ranks_); }
  /// Where chunk c begins among its holder's columns.
  index_t column_offset(index_t c) const {
    index_t offset = 0;
    for (index_t before = c % ranks_; before < c; before += ranks_) offset += columns(before);
    return offset;
  }
  /// Columns that rank p keeps: about n^2 / 2 b P.
  index_t columns_of_rank(int p) const {
    index_t count = 0;
    for (index_t c = p; c < chunks(); c += ranks_) count += columns(c);
    return count;
  }

 private:
  static void require(bool holds, const char* message, index_t got) {
    if (!holds) throw InvalidArgument(message + std::to_string(got));
  }

  index_t order_;
  index_t bandwidth_;
  index_t chunk_;
  int ranks_;
};

/// The diamonds of a chunk, and the waves in which they are applied from the left.
///
/// A diamond is the product H_1 H_2 .. H_g of the reflectors of a group of g neighbouring sweeps
/// and one level. Each reflector begins one row below the one before. They change b + g - 1 rows,
/// and the row above these counts as a diamond's first, so that diamonds begin and end at multiples
/// of b = g, where a GPU reads fastest. With g = 3, b = 4, a column for each sweep, levels k (x),
/// k + 1 (o) and k + 2 (+):
///
///     row    G        G + 1
///      0     . . .    . . .
///      1     x . .    . . .
///      2     x x .    . . .
///      3     x x x    . . .
///      4     x x x    x . .
///      5     o x x    x x .
///      6     o o x    x x x
///      7     o o o    x x x
///      8     o o o    o x x
///      9     + o o    o o x
///
/// V is to be multiplied by all reflectors of the last sweep, then of the one before, and so on.
/// Those of one sweep share no row, so all that counts is who shares rows with whom in other
/// sweeps:
///
/// - (G, k) and (G, k - 1) do, and those of (G, k - 1) are of later sweeps: it comes first;
/// - (G, k) and (G', k') of a later group may if k' <= k: then (G', k') comes first. If k' > k, its
///   reflectors begin below the last row of (G, k), and either may come first.
///
/// So wave t = k + (last group - G) needs waves before it alone, and its diamonds share no row:
/// (G + 1, k + 1) begins where (G, k) ends.
class DiamondWaves {
 public:
  DiamondWaves(index_t bandwidth, index_t sweeps, index_t levels, index_t group)
      : bandwidth_(bandwidth), sweeps_(sweeps), levels_(levels), group_(group) {}

  index_t bandwidth() const { return bandwidth_; }
  index_t sweeps() const { return sweeps_; }
  index_t levels() const { return levels_; }
  /// g, sweeps in a group; the last group of a chunk may have fewer.
  index_t group() const { return group_; }
  index_t groups() const { return (sweeps_ + group_ - 1) / group_; }
  index_t sweeps_of_group(index_t G) const { return std::min(group_, sweeps_ - G * group_); }

  /// Rows of a diamond. Those of a wave lie one below the other.
  index_t height() const { return bandwidth_ + group_; }

  index_t waves() const { return sweeps_ == 0 ? 0 : groups() - 1 + levels_; }
  /// The groups that wave t has a diamond of: first_group .. end_group - 1.
  index_t first_group(index_t t) const { return std::max<index_t>(0, groups() - 1 - t); }
  index_t end_group(index_t t) const { return std::min(groups(), groups() - 1 - t + levels_); }
  index_t level(index_t t, index_t G) const { return t - (groups() - 1 - G); }
  /// First row of a diamond, counted from the one above the chunk's first reflector.
  index_t row(index_t t, index_t G) const { return G * group_ + level(t, G) * bandwidth_; }

 private:
  index_t bandwidth_;
  index_t sweeps_;
  index_t levels_;
  index_t group_;
};

}  // namespace jaxmg
