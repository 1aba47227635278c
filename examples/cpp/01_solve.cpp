// Solves A x = b, without JAX: A is a kernel matrix of points on a line. On four CPU ranks; with
// arguments on GPUs: "01_solve 0 1" takes the first two.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "jaxmg/potrs.hpp"

int main(int argc, char** argv) {
  using jaxmg::index_t;
  const index_t n = 1000;
  std::vector<int> gpus;
  for (int i = 1; i < argc; ++i) gpus.push_back(std::atoi(argv[i]));
  const jaxmg::Team team = gpus.empty() ? jaxmg::Team::cpu(4) : jaxmg::Team::cuda(gpus);

  // Every rank holds a block of columns, on its device. Only the lower triangle is read.
  const auto kernel = [](index_t i, index_t j) {
    const double distance = 0.01 * static_cast<double>(i - j);
    return std::exp(-0.5 * distance * distance) + (i == j ? 1e-4 : 0.0);
  };
  std::vector<double> lower(static_cast<std::size_t>(n * n));
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j; i < n; ++i) lower[static_cast<std::size_t>(i + j * n)] = kernel(i, j);
  }
  jaxmg::DistributedMatrix<double> A(team, n);
  A.write(0, 0, {lower.data(), n, n, n});

  std::vector<double> x(static_cast<std::size_t>(n), 1.0);  // b on entry
  const auto L = jaxmg::potrf(std::move(A));
  if (L.info() != 0) {
    std::printf("not positive definite: leading minor of order %d\n", L.info());
    return 1;
  }
  jaxmg::potrs(L, jaxmg::MatrixView<double>(x.data(), n, 1, n));

  double residual = 0;
  for (index_t i = 0; i < n; ++i) {
    double row = -1.0;
    for (index_t j = 0; j < n; ++j) row += kernel(i, j) * x[static_cast<std::size_t>(j)];
    residual = std::max(residual, std::abs(row));
  }
  std::printf("n = %ld, log det A = %.3f, max |A x - b| = %.2e\n", static_cast<long>(n), L.logdet(),
              residual);
  return residual < 1e-8 ? 0 : 1;
}
