#include "algorithms/eigen/tridiagonal/deflation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace jaxmg {
namespace {

/// Where an eigenvector of the merge may differ from zero. The order is that of RankOneUpdate.
enum class Support { above, both, below, deflated };

class Deflation {
 public:
  Deflation(const Merge& merge, double coupling, double eps, LevelArrays& level)
      : merge_(merge), level_(level), support_(size(), Support::below) {
    std::fill_n(support_.begin(), merge.cut - merge.first, Support::above);
    rho_ = normalise(coupling);
    tolerance_ = 8 * eps * std::max(largest(level.d), largest(level.z));
  }

  RankOneUpdate run() {
    RankOneUpdate update{merge_, rho_};
    update.first_rotation = static_cast<index_t>(level_.rotations.size());
    if (rho_ * largest(level_.z) > tolerance_) scan();
    update.rotations = static_cast<index_t>(level_.rotations.size()) - update.first_rotation;
    update.kept = static_cast<index_t>(kept_.size());
    const auto of = [&](Support support) {
      return std::count_if(kept_.begin(), kept_.end(),
                           [&](index_t i) { return this->support(i) == support; });
    };
    update.above = of(Support::above) + of(Support::both);
    update.below = of(Support::both) + of(Support::below);
    if (update.kept > 0) write_order();
    return update;
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>(merge_.last - merge_.first); }
  double& d(index_t i) { return level_.d[level_.at(i)]; }
  double& z(index_t i) { return level_.z[level_.at(i)]; }
  Support& support(index_t i) { return support_[static_cast<std::size_t>(i - merge_.first)]; }

  double largest(const std::vector<double>& values) const {
    double size = 0;
    for (index_t i = merge_.first; i < merge_.last; ++i) {
      size = std::max(size, std::abs(values[level_.at(i)]));
    }
    return size;
  }

  /// z := z / ||z||, with the sign of the coupling in the second half; rho for it.
  double normalise(double coupling) {
    double square = 0;
    for (index_t i = merge_.first; i < merge_.last; ++i) square += z(i) * z(i);
    if (square == 0) return 0;
    const double scale = 1 / std::sqrt(square);
    for (index_t i = merge_.first; i < merge_.last; ++i) {
      z(i) *= i >= merge_.cut && coupling < 0 ? -scale : scale;
    }
    return std::abs(coupling) * square;
  }

  std::vector<index_t> ascending() {
    std::vector<index_t> order(size());
    std::iota(order.begin(), order.end(), merge_.first);
    std::sort(order.begin(), order.end(),
              [this](index_t i, index_t j) { return d(i) != d(j) ? d(i) < d(j) : i < j; });
    return order;
  }

  void scan() {
    std::optional<index_t> before;
    for (const index_t i : ascending()) {
      if (rho_ * std::abs(z(i)) <= tolerance_) {
        support(i) = Support::deflated;
        continue;
      }
      if (before && !rotate_away(*before, i)) kept_.push_back(*before);
      before = i;
    }
    if (before) kept_.push_back(*before);
  }

  /// Makes z_i zero by a rotation with its neighbour j, d_i <= d_j, if they are near enough.
  bool rotate_away(index_t i, index_t j) {
    const double norm = std::hypot(z(i), z(j));
    const double c = z(j) / norm, s = -z(i) / norm;
    if (std::abs((d(j) - d(i)) * c * s) > tolerance_) return false;
    z(j) = norm;
    z(i) = 0;
    if (support(i) != support(j)) support(j) = Support::both;
    support(i) = Support::deflated;
    level_.rotations.push_back({i, j, c, s});
    const double low = d(i) * c * c + d(j) * s * s;
    d(j) = d(i) * s * s + d(j) * c * c;
    d(i) = low;
    return true;
  }

  /// The kept and the deflated pairs go to their new positions.
  void write_order() {
    const auto columns =
        level_.columns.begin() + static_cast<std::ptrdiff_t>(level_.at(merge_.first));
    const auto end = columns + static_cast<std::ptrdiff_t>(size());
    std::vector<index_t> order = kept_;
    for (index_t i = merge_.first; i < merge_.last; ++i) {
      if (support(i) == Support::deflated) order.push_back(i);
    }
    std::copy(order.begin(), order.end(), columns);
    std::stable_sort(columns, end,
                     [this](index_t i, index_t j) { return support(i) < support(j); });

    std::vector<index_t> place(size());
    for (auto at = columns; at != end; ++at) {
      place[static_cast<std::size_t>(*at - merge_.first)] = at - columns;
    }
    std::vector<double> values, weights;
    for (const index_t i : order) {
      values.push_back(d(i));
      weights.push_back(z(i));
    }
    for (std::size_t j = 0; j < order.size(); ++j) {
      const std::size_t to = level_.at(merge_.first) + j;
      level_.rows[to] = place[static_cast<std::size_t>(order[j] - merge_.first)];
      level_.d[to] = level_.poles[to] = values[j];
      level_.z[to] = weights[j];
    }
  }

  Merge merge_;
  LevelArrays& level_;
  std::vector<Support> support_;
  std::vector<index_t> kept_;
  double rho_ = 0;
  double tolerance_ = 0;
};

}  // namespace

LevelArrays::LevelArrays(index_t begin, index_t end)
    : offset(begin),
      d(static_cast<std::size_t>(end - begin)),
      z(d.size()),
      poles(d.size()),
      columns(d.size()),
      rows(d.size()) {}

RankOneUpdate deflate(const Merge& merge, double coupling, double eps, LevelArrays& level) {
  return Deflation(merge, coupling, eps, level).run();
}

}  // namespace jaxmg
