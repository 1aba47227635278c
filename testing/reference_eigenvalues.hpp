// LAPACK's eigenvalues, as an oracle; for programs that link to the BLAS of this build and define
// JAXMG_BLAS_PREFIX.
#pragma once

#include <algorithm>
#include <complex>
#include <stdexcept>
#include <vector>

#include "testing/host_matrix.hpp"
#include "testing/residuals.hpp"

#define JAXMG_TESTING_JOIN_(a, b) a##b
#define JAXMG_TESTING_JOIN(a, b) JAXMG_TESTING_JOIN_(a, b)
#define JAXMG_TESTING_LAPACK(name) JAXMG_TESTING_JOIN(JAXMG_BLAS_PREFIX, name)

extern "C" {
void JAXMG_TESTING_LAPACK(dsyev_)(const char* job, const char* uplo, const int* n, double* a,
                                  const int* lda, double* w, double* work, const int* lwork,
                                  int* info);
void JAXMG_TESTING_LAPACK(zheev_)(const char* job, const char* uplo, const int* n,
                                  std::complex<double>* a, const int* lda, double* w,
                                  std::complex<double>* work, const int* lwork, double* rwork,
                                  int* info);
}

namespace jaxmg_testing {

template <Scalar T>
struct ReferenceEigen {
  using W = std::conditional_t<jaxmg::is_complex_v<T>, std::complex<double>, double>;
  std::vector<double> values;
  HostMatrix<W> vectors;
};

/// The eigenvalues of a finite Hermitian A, ascending, and with `with_vectors` its eigenvectors, in
/// double precision by implicit QL (LAPACK syev, heev). Throws std::runtime_error where that fails.
template <Scalar T>
ReferenceEigen<T> reference_eigen(const HostMatrix<T>& A, bool with_vectors) {
  using W = typename ReferenceEigen<T>::W;
  const int n = static_cast<int>(A.cols()), ld = std::max(1, n), size = 34 * ld;
  ReferenceEigen<T> eigen{std::vector<double>(static_cast<std::size_t>(n)), {n, n}};
  W* const a = eigen.vectors.view().data;
  std::copy(A.values().begin(), A.values().end(), a);
  std::vector<W> work(static_cast<std::size_t>(size));
  std::vector<double> reals(static_cast<std::size_t>(3 * ld));
  const char* const job = with_vectors ? "V" : "N";
  int info = 0;
  if constexpr (jaxmg::is_complex_v<T>) {
    JAXMG_TESTING_LAPACK(zheev_)
    (job, "L", &n, a, &ld, eigen.values.data(), work.data(), &size, reals.data(), &info);
  } else {
    JAXMG_TESTING_LAPACK(dsyev_)
    (job, "L", &n, a, &ld, eigen.values.data(), work.data(), &size, &info);
  }
  if (info != 0) throw std::runtime_error("LAPACK found no eigenvalues to compare with");
  return eigen;
}

template <Scalar T>
std::vector<double> reference_eigenvalues(const HostMatrix<T>& A) {
  return reference_eigen(A, false).values;
}

/// max_i |w_i - lambda_i| / (n eps ||A||_1), lambda the reference, eps of T.
template <Scalar T>
double eigenvalue_error(const HostMatrix<T>& A, const std::vector<real_t<T>>& w) {
  const std::vector<double> expected = reference_eigenvalues(A);
  double error = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(w[i]) - expected[i]);
    if (!(difference <= error)) error = difference;
  }
  const double scale =
      static_cast<double>(A.cols()) * std::numeric_limits<real_t<T>>::epsilon() * one_norm(A);
  return error == 0 ? 0 : error / scale;
}

}  // namespace jaxmg_testing
