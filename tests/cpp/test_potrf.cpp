// Cholesky factorisation through the public interface.
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "failures.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/potrf.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::CholeskyFactor;
using jaxmg::DistributedMatrix;
using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::Team;
using jaxmg::testing::factor;
using jaxmg::testing::message_of;
using namespace jaxmg_testing;

template <class P>
class Potrf : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(Potrf, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

/// What is only about the CPU's queues.
template <class P>
class PotrfOnCpu : public Potrf<P> {};
TYPED_TEST_SUITE(PotrfOnCpu, jaxmg::testing::OnCpu, jaxmg::testing::KindNames);

template <jaxmg::Scalar T>
void expect_factor_of(const HostMatrix<T>& A, const CholeskyFactor<T>& factor) {
  EXPECT_EQ(factor.info(), 0);
  HostMatrix<T> L(A.rows(), A.cols());
  factor.gather(L.view());
  EXPECT_LT(factor_residual(A, L), 1);
  EXPECT_TRUE(std::isfinite(factor.logdet()));
}

template <jaxmg::Scalar T>
void expect_failure_at(std::int32_t minor, const CholeskyFactor<T>& factor) {
  EXPECT_EQ(factor.info(), minor);
  EXPECT_TRUE(std::isnan(factor.logdet()));
}

/// Random scheduling while it lives.
class Chaos {
 public:
  explicit Chaos(unsigned seed) { jaxmg::set_cpu_chaos(seed); }
  ~Chaos() { jaxmg::set_cpu_chaos(0); }
  Chaos(const Chaos&) = delete;
  Chaos& operator=(const Chaos&) = delete;
};

TYPED_TEST(Potrf, FactorsEverySizeTileAndNumberOfRanks) {
  using T = typename TypeParam::type;
  for (const index_t tile : {1, 5, 16, 32, 1000}) {
    for (const index_t n : {index_t{0}, index_t{1}, tile - 1, tile, tile + 1, index_t{53}}) {
      if (n > 60) continue;
      const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
      for (const int ranks : {1, 2, 3, 4, 7, 8}) {
        const Setting setting{ranks, tile, (n + ranks) % 2 == 0};
        SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
        expect_factor_of(A, factor<TypeParam>(A, setting));
      }
    }
  }
}

TYPED_TEST(Potrf, FactorsManyTilesAndARaggedLastRound) {
  using T = typename TypeParam::type;
  const index_t n = 197;  // divided by none of the numbers of ranks
  const HostMatrix<T> A = make_matrix<T>({Kind::matern_shuffled, n, 1e3, 1}).A;
  for (const int ranks : {1, 2, 3, 8}) {
    for (const index_t tile : {0, 7, 16, 32}) {
      for (const bool direct : {true, false}) {
        const Setting setting{ranks, tile, direct};
        SCOPED_TRACE(::testing::Message() << setting);
        expect_factor_of(A, factor<TypeParam>(A, setting));
      }
    }
  }
}

TYPED_TEST(PotrfOnCpu, FactorsUnderRandomScheduling) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_sorted, 61, 1e3, 1}).A;
  for (const unsigned seed : {1U, 2U, 3U}) {
    const Chaos chaos(seed);
    for (const Setting& setting : {Setting{2, 5, false}, {3, 5, true}, {4, 4, false}}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << setting);
      expect_factor_of(A, factor<TypeParam>(A, setting));
    }
  }
}

TYPED_TEST(Potrf, BorrowsShards) {
  using T = typename TypeParam::type;
  const index_t n = 50, local = 13;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
  const Team team = TypeParam::Kind::team({4, 5, true});
  std::vector<std::shared_ptr<T>> storage;
  std::vector<T*> shards;
  jaxmg::with_engine(team, [&](const auto& engine) {
    for (int p = 0; p < 4; ++p) {
      storage.push_back(engine.template allocate<T>(p, 4 * local * local));
      shards.push_back(storage.back().get());
    }
  });
  DistributedMatrix<T> matrix(team, n, shards);
  distribute_lower(A, matrix);
  const CholeskyFactor<T> factor = jaxmg::potrf(std::move(matrix), {.tile = 5});
  expect_factor_of(A, factor);
  for (int p = 0; p < 4; ++p) {
    EXPECT_EQ(factor.storage().shard(p).data, shards[static_cast<std::size_t>(p)]);
  }
  // The first column stays in its place: L's own.
  T first(0);
  factor.storage().read(0, 0, {&first, 1, 1, 1});
  EXPECT_NEAR(std::abs(first), std::sqrt(std::abs(A(0, 0))), 1e-5);
}

TYPED_TEST(Potrf, WritesAndReadsBlocks) {
  using T = typename TypeParam::type;
  const index_t n = 11;  // 12 columns of storage, 4 a rank
  const HostMatrix<T> A = random_matrix<T>(n, n, 1);
  DistributedMatrix<T> matrix(TypeParam::Kind::team({3, 1, true}), n);
  const auto read = [&] {
    HostMatrix<T> all(12, 12);
    std::fill_n(all.view().data, 144, T(7));
    std::as_const(matrix).read(0, 0, all.view());
    return all;
  };
  EXPECT_EQ(read().values(), HostMatrix<T>(12, 12).values()) << "owned storage is zero at first";

  // A block of its own over three ranks, and nothing beside it.
  matrix.write(2, 3, A.view().block(1, 1, 5, 6));
  const HostMatrix<T> written = read();
  for (index_t j = 0; j < 12; ++j) {
    for (index_t i = 0; i < 12; ++i) {
      const bool inside = i >= 2 && i < 7 && j >= 3 && j < 9;
      EXPECT_EQ(written(i, j), inside ? A(i - 1, j - 2) : T(0)) << i << ", " << j;
    }
  }
  HostMatrix<T> block(5, 6);
  matrix.read(2, 3, block.view());
  for (index_t j = 0; j < 6; ++j) {
    for (index_t i = 0; i < 5; ++i) EXPECT_EQ(block(i, j), A(i + 1, j + 1));
  }
  matrix.write(12, 12, MatrixView<const T>());
  matrix.read(0, 0, MatrixView<T>());
}

TYPED_TEST(Potrf, TellsTheFirstFailingMinor) {
  using T = typename TypeParam::type;
  const index_t n = 37;
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const TestMatrix<T> matrix = make_matrix<T>({Kind::indefinite, n, 100, seed});
    HostMatrix<T> oracle = matrix.A;
    ASSERT_EQ(reference_cholesky(oracle), matrix.first_failure);
    for (const Setting& setting :
         {Setting{1, 8, true}, {2, 5, false}, {3, 5, true}, {4, 1, false}}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << setting);
      expect_failure_at(matrix.first_failure, factor<TypeParam>(matrix.A, setting));
    }
  }
}

TYPED_TEST(Potrf, TellsTheFirstOfSeveralFailures) {
  using T = typename TypeParam::type;
  const index_t n = 40;
  HostMatrix<T> A = make_matrix<T>({Kind::dominant, n, 1, 1}).A;
  for (const index_t i : {39, 23, 11}) {
    A(i, i) = T(i % 2 == 1 ? -1 : 0);
    for (const Setting& setting : {Setting{2, 4, true}, {3, 16, false}, {8, 5, true}}) {
      SCOPED_TRACE(::testing::Message() << "entry " << i << ", " << setting);
      expect_failure_at(static_cast<std::int32_t>(i + 1), factor<TypeParam>(A, setting));
    }
  }
}

TYPED_TEST(Potrf, TellsNaN) {
  using T = typename TypeParam::type;
  const index_t n = 41;
  const std::pair<index_t, index_t> places[] = {{0, 0},  {40, 0},  {40, 40}, {1, 0},
                                                {17, 5}, {24, 24}, {15, 14}, {16, 15}};
  for (const auto& [i, j] : places) {
    TestMatrix<T> matrix = make_matrix<T>({Kind::spd, n, 100, 1});
    put_nan(matrix, i, j);
    for (const Setting& setting :
         {Setting{1, 64, true}, {2, 8, true}, {3, 5, false}, {4, 16, true}}) {
      SCOPED_TRACE(::testing::Message() << "NaN at " << i << ", " << j << "; " << setting);
      expect_failure_at(static_cast<std::int32_t>(i + 1), factor<TypeParam>(matrix.A, setting));
    }
  }
}

TYPED_TEST(Potrf, TellsInfinity) {
  using T = typename TypeParam::type;
  const T infinity(std::numeric_limits<real_t<T>>::infinity());
  for (const index_t i : {0, 20, 39}) {
    HostMatrix<T> A = make_matrix<T>({Kind::spd, 40, 100, 1}).A;
    A(i, i) = infinity;
    const CholeskyFactor<T> L = factor<TypeParam>(A, {3, 8, true});
    EXPECT_EQ(L.info(), i + 1);
    EXPECT_TRUE(std::isnan(L.logdet()));
  }
}

TYPED_TEST(Potrf, GivesLogDet) {
  using T = typename TypeParam::type;
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  for (const index_t n : {1, 2, 30, 150}) {
    const TestMatrix<T> matrix = make_matrix<T>({Kind::spd, n, 100, 1});
    for (const Setting& setting : {Setting{1, 8, true}, {3, 16, false}, {8, 5, true}}) {
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
      // Each eigenvalue may be off by some eps, which is 100 eps of the smallest.
      EXPECT_NEAR(factor<TypeParam>(matrix.A, setting).logdet(), matrix.logdet.value(),
                  static_cast<double>(n) * 100 * eps);
    }
  }
  EXPECT_EQ(factor<TypeParam>(HostMatrix<T>(0, 0), {3, 8, true}).logdet(), 0);
}

TYPED_TEST(Potrf, GathersZerosAboveTheDiagonal) {
  using T = typename TypeParam::type;
  const index_t n = 23;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 10, 1}).A;
  HostMatrix<T> L(n + 2, n + 1);
  std::fill_n(L.view().data, (n + 2) * (n + 1), T(7));
  factor<TypeParam>(A, {3, 4, true}).gather(L.view());
  for (index_t j = 0; j < n + 1; ++j) {
    for (index_t i = 0; i < n + 2; ++i) {
      if (i >= n || j >= n) {
        EXPECT_EQ(L(i, j), T(7)) << "beyond the order, at " << i << ", " << j;
      } else if (i < j) {
        EXPECT_EQ(L(i, j), T(0));
      } else if (i == j) {
        EXPECT_GT(jaxmg::real_part(L(i, j)), 0);
      }
    }
  }
}

TYPED_TEST(Potrf, RunsOnTwoTeamsAtOnce) {
  using T = typename TypeParam::type;
  const HostMatrix<T> one = make_matrix<T>({Kind::spd, 90, 100, 1}).A;
  const HostMatrix<T> other = make_matrix<T>({Kind::matern_shuffled, 61, 100, 2}).A;
  const auto work = [](const HostMatrix<T>& A, const Setting& setting) {
    for (int i = 0; i < 5; ++i) {
      SCOPED_TRACE(::testing::Message() << setting);
      expect_factor_of(A, factor<TypeParam>(A, setting));
    }
  };
  std::thread first([&] { work(one, {3, 8, false}); });
  std::thread second([&] { work(other, {4, 5, true}); });
  first.join();
  second.join();
}

TYPED_TEST(Potrf, RefusesNonsense) {
  using T = typename TypeParam::type;
  const Team team = TypeParam::Kind::team({2, 1, true});
  const auto refused = [](const auto& call) { return message_of<jaxmg::InvalidArgument>(call); };
  EXPECT_EQ(refused([&] { DistributedMatrix<T>(team, -3); }), "n: expected 0 or more, got -3");
  EXPECT_EQ(refused([&] { DistributedMatrix<T>(team, 4, {nullptr}); }),
            "shards: expected one for each of 2 ranks, got 1");
  EXPECT_EQ(refused([&] { jaxmg::potrf(DistributedMatrix<T>(team, 4), {.tile = -1}); }),
            "tile: expected 0 or more, got -1");
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, 4, 10, 1}).A;
  HostMatrix<T> small(4, 3);
  EXPECT_EQ(refused([&] {
              factor<TypeParam>(A, {2, 2, true}).gather(small.view());
            }),
            "lower: expected at least 4 x 4, got 4 x 3");
  DistributedMatrix<T> matrix(team, 3);
  EXPECT_EQ(refused([&] { matrix.write(0, 2, small.view()); }),
            "block: expected one within 4 x 4, got 4 x 3 at (0, 2)");
  EXPECT_EQ(refused([&] { matrix.read(1, 0, small.view()); }),
            "block: expected one within 4 x 4, got 4 x 3 at (1, 0)");
  EXPECT_EQ(refused([&] { matrix.read(0, -1, small.view()); }),
            "block: expected one within 4 x 4, got 4 x 3 at (0, -1)");
}

TEST(Teams, RefuseNonsense) {
  EXPECT_EQ(message_of<jaxmg::InvalidArgument>([] { Team::cpu(0); }),
            "ranks: expected at least 1, got 0");
  EXPECT_EQ(message_of<jaxmg::InvalidArgument>([] { Team::cuda({}); }),
            "devices: expected at least one GPU, got none");
}

TEST(Teams, TellWhyThereAreNoGpus) {
  if (jaxmg::cuda_device_count() > 0) GTEST_SKIP() << "there are GPUs";
#ifdef JAXMG_WITH_CUDA
  const std::string reason = "Team::cuda: no NVIDIA GPU can be used: ";
#else
  const std::string reason = "Team::cuda: this jaxmg was built without its CUDA engine";
#endif
  const std::string message = message_of<jaxmg::DeviceError>([] { Team::cuda({0}); });
  EXPECT_EQ(message.substr(0, reason.size()), reason);
  EXPECT_GT(message.size(), reason.size());
}

TEST(TeamsOnCuda, RefuseUnknownDevicesAndHostMemory) {
  const int count = jaxmg::cuda_device_count();
  if (count == 0) GTEST_SKIP() << "no GPU";
  const auto refused = [](const auto& call) { return message_of<jaxmg::InvalidArgument>(call); };
  const std::string known = "devices: expected GPUs from 0 to " + std::to_string(count - 1);
  EXPECT_EQ(refused([&] { Team::cuda({0, count}); }), known + ", got " + std::to_string(count));
  EXPECT_EQ(refused([&] { Team::cuda({-1}); }), known + ", got -1");
  std::vector<double> host(16);
  EXPECT_EQ(refused([&] { DistributedMatrix<double>(Team::cuda({0}), 4, {host.data()}); }),
            "shards: expected memory of GPU 0 for rank 0, got an address that is not");
}

TYPED_TEST(Potrf, SlowSucceedsUpToTheHighestCondition) {
  using T = typename TypeParam::type;
  for (const Kind kind : {Kind::spd, Kind::clustered, Kind::rbf_sorted, Kind::rbf_shuffled,
                          Kind::matern_sorted, Kind::matern_shuffled}) {
    const double highest = highest_kappa(kind, jaxmg::dtype_of<T>());
    for (const double kappa : {10.0, std::sqrt(highest), highest / 10, highest}) {
      const HostMatrix<T> A = make_matrix<T>({kind, 301, kappa, 1}).A;
      for (const Setting& setting : {Setting{1, 0, true}, {3, 32, false}, {4, 75, true}}) {
        SCOPED_TRACE(::testing::Message()
                     << to_string(kind) << ", kappa = " << kappa << ", " << setting);
        expect_factor_of(A, factor<TypeParam>(A, setting));
      }
    }
  }
}

}  // namespace
