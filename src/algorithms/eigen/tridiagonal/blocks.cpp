#include "algorithms/eigen/tridiagonal/blocks.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace jaxmg {

TridiagonalBlocks::TridiagonalBlocks(std::vector<double> d, std::vector<double> e, double eps)
    : d_(std::move(d)), e_(std::move(e)) {
  const auto is_finite = [](double x) { return std::isfinite(x); };
  finite_ =
      std::all_of(d_.begin(), d_.end(), is_finite) && std::all_of(e_.begin(), e_.end(), is_finite);
  if (!finite_) return;
  find_blocks(eps);
  scale_blocks();
}

void TridiagonalBlocks::find_blocks(double eps) {
  const index_t n = order();
  begin_.resize(d_.size());
  end_.resize(d_.size());
  for (index_t i = 0; i + 1 < n; ++i) {
    const double negligible =
        eps * std::sqrt(std::abs(d_[at(i)])) * std::sqrt(std::abs(d_[at(i + 1)]));
    if (std::abs(e_[at(i)]) <= negligible) e_[at(i)] = 0;
  }
  for (index_t i = 0; i < n; ++i) {
    begin_[at(i)] = i > 0 && e_[at(i - 1)] != 0 ? begin_[at(i - 1)] : i;
  }
  for (index_t i = n - 1; i >= 0; --i) {
    end_[at(i)] = i + 1 < n && e_[at(i)] != 0 ? end_[at(i + 1)] : i + 1;
  }
}

void TridiagonalBlocks::scale_blocks() {
  exponent_.assign(d_.size(), 0);
  for (index_t first = 0; first < order(); first = end_[at(first)]) {
    const index_t last = end_[at(first)];
    double norm = 0;
    for (index_t i = first; i < last; ++i) norm = std::max(norm, std::abs(d_[at(i)]));
    for (index_t i = first; i + 1 < last; ++i) norm = std::max(norm, std::abs(e_[at(i)]));
    const int exponent = norm == 0 ? 0 : std::ilogb(norm) + 1;
    for (index_t i = first; i < last; ++i) {
      exponent_[at(i)] = exponent;
      d_[at(i)] = std::ldexp(d_[at(i)], -exponent);
      if (i + 1 < last) e_[at(i)] = std::ldexp(e_[at(i)], -exponent);
    }
  }
}

void TridiagonalBlocks::tear(index_t cut) {
  const double size = std::abs(coupling(cut));
  if (size == 0) return;
  d_[at(cut - 1)] -= size;
  d_[at(cut)] -= size;
}

double TridiagonalBlocks::unscaled(index_t i, double eigenvalue) const {
  return std::ldexp(eigenvalue, exponent_[at(i)]);
}

}  // namespace jaxmg
