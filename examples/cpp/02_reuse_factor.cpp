// One factor for several solves, without JAX: a complex Hermitian matrix whose columns lie in the
// program's own memory, one piece a rank.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <limits>
#include <vector>

#include "jaxmg/potrs.hpp"

namespace {

using jaxmg::index_t;
using Complex = std::complex<double>;

constexpr index_t n = 600;

/// A kernel of points on a line, seen by an observer that moves along it: Hermitian, and positive
/// definite with eigenvalues of at least 0.01.
Complex entry(index_t i, index_t j) {
  const double distance = 0.02 * static_cast<double>(i - j);
  return std::polar(std::exp(-0.5 * distance * distance), 3.0 * distance) + (i == j ? 0.01 : 0.0);
}

/// max |A x - b| / (max |A| sum |x|), in units of the rounding error.
double scaled_residual(const std::vector<Complex>& x, const std::vector<Complex>& b) {
  double error = 0, size = 0;
  for (index_t i = 0; i < n; ++i) {
    Complex row = -b[static_cast<std::size_t>(i)];
    for (index_t j = 0; j < n; ++j) row += entry(i, j) * x[static_cast<std::size_t>(j)];
    error = std::max(error, std::abs(row));
    size += std::abs(x[static_cast<std::size_t>(i)]);
  }
  return error / (1.01 * size * std::numeric_limits<double>::epsilon());
}

}  // namespace

int main() {
  const int ranks = 3;
  const jaxmg::Team team = jaxmg::Team::cpu(ranks);

  // Rank p's columns p n/3 .. (p + 1) n/3 - 1, column-major with n rows. The lower triangle of the
  // matrix is read; the factor is written into the same memory, which must outlive it.
  const index_t local = n / ranks;
  std::vector<std::vector<Complex>> columns(ranks);
  std::vector<Complex*> shards;
  for (index_t p = 0; p < ranks; ++p) {
    std::vector<Complex>& mine = columns[static_cast<std::size_t>(p)];
    mine.resize(static_cast<std::size_t>(n * local));
    for (index_t j = 0; j < local; ++j) {
      const index_t column = p * local + j;
      for (index_t i = column; i < n; ++i) {
        mine[static_cast<std::size_t>(i + j * n)] = entry(i, column);
      }
    }
    shards.push_back(mine.data());
  }
  const auto L = jaxmg::potrf(jaxmg::DistributedMatrix<Complex>(team, n, shards));
  if (L.info() != 0) {
    std::printf("not positive definite: leading minor of order %d\n", L.info());
    return 1;
  }
  std::printf("n = %ld, log det A = %.6f\n", static_cast<long>(n), L.logdet());

  // Each right-hand side depends on the solution before: n^2 work each, where a factorisation is
  // n^3 / 3.
  std::vector<Complex> x(static_cast<std::size_t>(n), Complex(1, -1));
  double worst = 0;
  for (int step = 1; step <= 4; ++step) {
    const std::vector<Complex> b = x;
    jaxmg::potrs(L, jaxmg::MatrixView<Complex>(x.data(), n, 1, n));
    const double residual = scaled_residual(x, b);
    std::printf("solve %d: scaled residual %.2f\n", step, residual);
    worst = std::max(worst, residual);
  }
  return worst < 30 ? 0 : 1;
}
