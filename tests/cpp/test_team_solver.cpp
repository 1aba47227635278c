// potrs and potri by a library that one rank calls for all (team_solver_stand_in.hpp), its sizes,
// and its faults.
#include <atomic>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "failures.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/matrix.hpp"
#include "solutions.hpp"
#include "team_solver_stand_in.hpp"
#include "testing/host_matrix.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"
#ifdef JAXMG_WITH_CUDA
#include "engines/cusolvermg/library.hpp"
#endif

namespace {

using jaxmg::CholeskyProblem;
using jaxmg::Engine;
using jaxmg::index_t;
using jaxmg::InvalidArgument;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::testing::Behaviour;
using jaxmg::testing::directly;
using jaxmg::testing::expect_nan;
using jaxmg::testing::expect_solutions;
using jaxmg::testing::message_of;
using jaxmg::testing::Seats;
using jaxmg::testing::Shared;
using jaxmg::testing::solved;
using jaxmg::testing::Solved;
using jaxmg::testing::tested_tiles;
using jaxmg::testing::transposed;
using namespace jaxmg_testing;

struct Case {
  int ranks;
  index_t n;
  index_t tile;
  index_t rhs;  ///< 0: the inverse
  bool in_place;
  bool reads_peers_directly;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "P = " << c.ranks << ", n = " << c.n << ", T = " << c.tile << ", " << c.rhs
             << " rhs, in place " << c.in_place << ", direct " << c.reads_peers_directly;
}

template <jaxmg::Scalar T>
CholeskyProblem problem_of(const Case& c, const jaxmg::DistributedMatrix<T>& matrix) {
  CholeskyProblem problem{matrix.columns(), c.n, c.ranks, c.tile, c.rhs, c.in_place};
  problem.engine = Engine::cusolvermg;
  return jaxmg::planned(problem, jaxmg::Platform::cuda, jaxmg::dtype_of<T>());
}

/// Per rank what a program needs besides its matrix.
template <class Kind, jaxmg::Scalar T>
struct Results {
  explicit Results(int ranks)
      : info(static_cast<std::size_t>(ranks), -1),
        logdet(static_cast<std::size_t>(ranks)),
        workspaces(static_cast<std::size_t>(ranks)) {}

  /// Workspace that holds no number at first.
  void* workspace(const CholeskyProblem& problem, int p) {
    auto& mine = workspaces[static_cast<std::size_t>(p)];
    mine.resize(jaxmg::TeamSolverWorkspace<T>::bytes(problem), std::byte{0xff});
    return mine.data();
  }

  typename Kind::template Vector<std::int32_t> info;
  typename Kind::template Vector<real_t<T>> logdet;
  std::vector<typename Kind::template Vector<std::byte>> workspaces;
};

/// Solves M^T x = b by the program: M^T is JAX's A for storage M.
template <class Kind, jaxmg::Scalar T>
Solved<T> solve(const HostMatrix<T>& M, const HostMatrix<T>& b, const Case& c,
                const Behaviour& behaviour = {}) {
  using B = typename Kind::Backend;
  const Setting setting{c.ranks, c.tile, directly<Kind>(c.reads_peers_directly)};
  jaxmg::DistributedMatrix<T> matrix(Kind::team(setting), c.n);
  distribute_lower(M, matrix);
  const CholeskyProblem problem = problem_of(c, matrix);
  Shared<Kind, T> rows(transposed(b));
  std::vector<Shared<Kind, T>> X(static_cast<std::size_t>(c.ranks), Shared<Kind, T>(c.rhs, c.n));
  Results<Kind, T> results(c.ranks);
  Seats<Kind, T> seats(c.ranks, behaviour);
  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    jaxmg::run_potrs<B, T>(rank, problem,
                           {matrix.shard(me), rows.view(), X[p].view(), &results.logdet[p],
                            &results.info[p], results.workspace(problem, me)},
                           &seats[me]);
  });
  return solved(X, results.info, results.logdet);
}

/// The inverse of M by the program, from storage of M's or into storage of its own.
template <class Kind, jaxmg::Scalar T>
Solved<T> invert(const HostMatrix<T>& M, const Case& c, const Behaviour& behaviour = {}) {
  using B = typename Kind::Backend;
  const Setting setting{c.ranks, c.tile, directly<Kind>(c.reads_peers_directly)};
  jaxmg::DistributedMatrix<T> matrix(Kind::team(setting), c.n);
  jaxmg::DistributedMatrix<T> other(Kind::team(setting), c.n);
  distribute_lower(M, matrix);
  jaxmg::DistributedMatrix<T>& result = c.in_place ? matrix : other;
  const CholeskyProblem problem = problem_of(c, matrix);
  Results<Kind, T> results(c.ranks);
  Seats<Kind, T> seats(c.ranks, behaviour);
  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    jaxmg::run_potri<B, T>(rank, problem,
                           {matrix.shard(me), result.shard(me), &results.logdet[p],
                            &results.info[p], results.workspace(problem, me)},
                           &seats[me]);
  });
  return {{gather(result)},
          {results.info.begin(), results.info.end()},
          {results.logdet.begin(), results.logdet.end()}};
}

template <class P>
class TeamSolverProgram : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  static void expect_right(const Case& c, unsigned seed, const Behaviour& behaviour = {}) {
    using T = typename P::type;
    using Kind = typename P::Kind;
    SCOPED_TRACE(::testing::Message() << c);
    const auto made = make_matrix<T>({jaxmg_testing::Kind::spd, c.n, 1e3, seed});
    Solved<T> out;
    if (c.rhs > 0) {
      const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, seed + 1);
      out = solve<Kind, T>(made.A, b, c, behaviour);
      expect_solutions(made.A, b, out);
    } else {
      out = invert<Kind, T>(made.A, c, behaviour);
      EXPECT_LT(inverse_residual(made.A, out.X[0]), 10);
    }
    for (std::size_t p = 0; p < out.info.size(); ++p) {
      EXPECT_EQ(out.info[p], 0);
      EXPECT_NEAR(out.logdet[p], *made.logdet,
                  100 * std::numeric_limits<real_t<T>>::epsilon() * static_cast<double>(c.n) * 10);
    }
  }
};
TYPED_TEST_SUITE(TeamSolverProgram, jaxmg::testing::OnAllKindsAndProcesses,
                 jaxmg::testing::KindNames);

template <class P>
class TeamSolverProgramOnCpu : public TeamSolverProgram<P> {};
TYPED_TEST_SUITE(TeamSolverProgramOnCpu, jaxmg::testing::OnCpuAndProcesses,
                 jaxmg::testing::KindNames);

/// Tiles that cut the shards evenly, so that A's own storage serves, and others.
TYPED_TEST(TeamSolverProgram, Solves) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const index_t n : {1, 7, 48, 97}) {
      for (const index_t tile : tested_tiles<typename TypeParam::Kind>()) {
        for (const bool in_place : {false, true}) {
          this->expect_right({ranks, n, tile, tile == 4 ? 3 : 1, in_place, ranks % 2 == 0}, 1);
        }
      }
    }
  }
}

TYPED_TEST(TeamSolverProgram, Inverts) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const index_t n : {1, 7, 48, 97}) {
      for (const index_t tile : tested_tiles<typename TypeParam::Kind>()) {
        for (const bool in_place : {false, true}) {
          this->expect_right({ranks, n, tile, 0, in_place, ranks % 2 == 0}, 1);
        }
      }
    }
  }
}

TYPED_TEST(TeamSolverProgram, TakesAnyNumberOfRightHandSides) {
  for (const index_t rhs : {255, 256, 257, 600})
    this->expect_right({2, 20, 8, rhs, false, false}, 2);
}

TYPED_TEST(TeamSolverProgram, TellsAMatrixThatIsNotPositiveDefinite) {
  using T = typename TypeParam::type;
  using K = typename TypeParam::Kind;
  for (const auto kind : {Kind::indefinite, Kind::nan}) {
    for (const index_t rhs : {index_t{0}, index_t{2}}) {
      const Case c{3, 41, 5, rhs, false, false};
      const auto made = make_matrix<T>({kind, c.n, 10, 3});
      const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, 2);
      const Solved<T> out = rhs > 0 ? solve<K, T>(made.A, b, c) : invert<K, T>(made.A, c);
      for (const HostMatrix<T>& X : out.X) expect_nan(X);
      for (std::size_t p = 0; p < out.info.size(); ++p) {
        EXPECT_EQ(out.info[p], made.first_failure);
        EXPECT_TRUE(std::isnan(out.logdet[p]));
      }
    }
  }
}

/// Nobody works beyond the order, and what is there becomes zero.
TYPED_TEST(TeamSolverProgram, OrderZero) { this->expect_right({2, 0, 4, 2, false, false}, 1); }

TYPED_TEST(TeamSolverProgramOnCpu, SolvesUnderChaos) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    jaxmg::set_cpu_chaos(seed, 300);
    this->expect_right({3, 36, 4, 2, seed % 2 == 0, seed % 3 == 0}, seed);
    this->expect_right({3, 36, 4, 0, seed % 2 == 0, seed % 3 == 0}, seed);
    this->expect_right({4, 30, 5, 0, seed % 2 == 0, seed % 3 == 0}, seed);
  }
}

/// A library that has found a failure which the diagonal does not show is believed.
TYPED_TEST(TeamSolverProgramOnCpu, BelievesWhatTheLibraryTells) {
  using T = typename TypeParam::type;
  using K = typename TypeParam::Kind;
  Behaviour behaviour;
  behaviour.told = 7;
  const Case c{2, 12, 3, 1, false, true};
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, c.n, 10, 1}).A;
  const Solved<T> out = solve<K, T>(A, random_matrix<T>(c.n, 1, 2), c, behaviour);
  for (std::size_t p = 0; p < out.info.size(); ++p) {
    EXPECT_EQ(out.info[p], 7);
    EXPECT_TRUE(std::isnan(out.logdet[p]));
    expect_nan(out.X[p]);
  }
  behaviour.told = -1;
  EXPECT_THROW((solve<K, T>(A, random_matrix<T>(c.n, 1, 2), c, behaviour)), jaxmg::TeamError);
}

/// One error on all ranks, whatever the library was at; the next call works.
TYPED_TEST(TeamSolverProgramOnCpu, AFailingLibraryIsOneError) {
  using T = typename TypeParam::type;
  using K = typename TypeParam::Kind;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, 12, 10, 1}).A;
  for (const char* routine : {"make", "potrf", "potrs", "potri"}) {
    Behaviour behaviour;
    behaviour.before = [routine](const char* now) {
      if (std::string(now) == routine) throw jaxmg::DeviceError(std::string("no ") + routine);
    };
    const bool inverts = std::string(routine) == "potri";
    const Case c{3, 12, 2, inverts ? 0 : 1, false, false};
    try {
      if (inverts) {
        invert<K, T>(A, c, behaviour);
      } else {
        solve<K, T>(A, random_matrix<T>(12, 1, 2), c, behaviour);
      }
      FAIL() << routine << " did not fail";
    } catch (const jaxmg::TeamError& error) {
      EXPECT_EQ(std::string(error.what()), std::string("rank 0 of 3 failed: no ") + routine);
    }
    this->expect_right(c, 1);
  }
}

/// Rank 1 has nothing to offer. One error on all ranks, and rank 0 has let go of what it had.
TYPED_TEST(TeamSolverProgramOnCpu, MemoryThatIsNotToBeHadIsOneError) {
  using T = typename TypeParam::type;
  using K = typename TypeParam::Kind;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, 12, 10, 1}).A;
  for (const int before : {0, 1, 2}) {
    std::atomic<int> offers{0};
    Behaviour behaviour;
    behaviour.before_offer = [&](int rank) {
      if (rank == 1 && offers++ == before) throw jaxmg::DeviceError("not to be had");
    };
    const Case c{3, 12, 2, 1, false, false};
    try {
      solve<K, T>(A, random_matrix<T>(12, 1, 2), c, behaviour);
      FAIL() << "got it";
    } catch (const jaxmg::TeamError& error) {
      EXPECT_STREQ(error.what(), "rank 1 of 3 failed: not to be had");
    }
    this->expect_right(c, 1);
  }
}

TEST(TeamSolver, NeedsOneHost) {
  using Hosts = jaxmg::testing::Hosts;
  const HostMatrix<double> A = make_matrix<double>({Kind::spd, 12, 10, 1}).A;
  try {
    solve<Hosts, double>(A, random_matrix<double>(12, 1, 2), {3, 12, 2, 1, false, false});
    FAIL() << "worked";
  } catch (const jaxmg::TeamError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("rank 0 of 3 failed: engine: cusolvermg needs the GPUs of one host, and "
                        "rank 1's is of another"),
              std::string::npos)
        << error.what();
  }
  Hosts::run({3, 2, false}, [](jaxmg::Rank<Hosts::Backend>& rank) {
    EXPECT_EQ(rank.shares_host(0), rank.index() != 1);
    rank.barrier(rank.panel());
  });
}

// ---- Questions to rank 0

/// What takes the library long is work: the clock of silent ranks does not run.
TEST(TeamSolver, ASlowLibraryIsNotSilence) {
  using B = jaxmg::cpu::Backend;
  const auto program = [&](jaxmg::Rank<B>& rank) {
    jaxmg::AskRank0<B> ask(rank);
    for (std::int64_t i = 0; i < 3; ++i) {
      if (rank.index() == 2) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const std::int64_t answer = ask([i] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        return 40 + i;
      });
      EXPECT_EQ(answer, 40 + i);
    }
  };
  jaxmg::run_team(3, program, {true, std::chrono::milliseconds(20)});
}

template <class Kind>
class QuestionsToRank0 : public jaxmg::testing::KindTest<Kind> {
 protected:
  /// The message of what all of three ranks throw, or "nothing".
  static std::string failure(const jaxmg::RankProgram<typename Kind::Backend>& program) {
    return message_of<jaxmg::TeamError>([&] { Kind::run({3, 4, false}, program); });
  }
  static void wait_for(const std::atomic<bool>& event) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!event && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_TRUE(event);
  }
};
using KindsOnCpu = ::testing::Types<jaxmg::testing::Cpu, jaxmg::testing::Processes>;
TYPED_TEST_SUITE(QuestionsToRank0, KindsOnCpu, jaxmg::testing::KindNames);

TYPED_TEST(QuestionsToRank0, AnswersAndNotes) {
  using B = typename TypeParam::Backend;
  EXPECT_EQ(this->failure([](jaxmg::Rank<B>& rank) {
    jaxmg::AskRank0<B> ask(rank);
    for (std::int64_t i = -3; i < 20; ++i) {
      const auto notes = ask.gather({std::to_string(i * rank.index()), nullptr});
      EXPECT_EQ(notes.size(), rank.index() == 0 ? 3u : 0u);
      for (std::size_t p = 0; p < notes.size(); ++p) {
        EXPECT_EQ(notes[p].text, std::to_string(i * static_cast<std::int64_t>(p)));
      }
      EXPECT_EQ(ask([i] { return i << 40; }), i << 40);
    }
  }),
            "nothing");
}

/// Rank 0 works when all queues of all ranks are empty.
TYPED_TEST(QuestionsToRank0, NothingIsUnderWayWhenRank0Works) {
  using B = typename TypeParam::Backend;
  std::atomic<int> done{0};
  EXPECT_EQ(this->failure([&](jaxmg::Rank<B>& rank) {
    jaxmg::AskRank0<B> ask(rank);
    for (int round = 1; round <= 3; ++round) {
      for (auto* const queue : {&rank.panel(), &rank.copies()}) {
        queue->enqueue([&done, p = rank.index()] {
          std::this_thread::sleep_for(std::chrono::milliseconds(10 * p));
          ++done;
        });
      }
      EXPECT_EQ(ask([&done] { return done.load(); }), 6 * round);
    }
  }),
            "nothing");
}

/// Rank 1, which waits for the answer, knows before rank 0 has worked it out.
TYPED_TEST(QuestionsToRank0, ARankThatFailsWhileRank0Works) {
  using B = typename TypeParam::Backend;
  std::atomic<bool> at_work{false}, known{false};
  EXPECT_EQ(this->failure([&](jaxmg::Rank<B>& rank) {
    jaxmg::AskRank0<B> ask(rank);
    if (rank.index() == 2) {
      rank.tell(rank.reserve(2), {});
      this->wait_for(at_work);
      throw jaxmg::Error("on purpose");
    }
    try {
      ask([&] {
        at_work = true;
        this->wait_for(known);
        return 1;
      });
      EXPECT_EQ(rank.index(), 0);
    } catch (...) {
      known = true;
      throw;
    }
    ask([] { return 2; });
    ADD_FAILURE() << "rank " << rank.index() << " does not know";
  }),
            "rank 2 of 3 failed: on purpose");
}

TYPED_TEST(QuestionsToRank0, ARankThatFailsBeforeItTells) {
  using B = typename TypeParam::Backend;
  EXPECT_EQ(this->failure([&](jaxmg::Rank<B>& rank) {
    if (rank.index() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      throw jaxmg::Error("on purpose");
    }
    jaxmg::AskRank0<B> ask(rank);
    ask([] { return 1; });
    ADD_FAILURE() << "answered";
  }),
            "rank 1 of 3 failed: on purpose");
}

TYPED_TEST(QuestionsToRank0, WorkThatFails) {
  using B = typename TypeParam::Backend;
  EXPECT_EQ(this->failure([&](jaxmg::Rank<B>& rank) {
    jaxmg::AskRank0<B> ask(rank);
    ask([]() -> std::int64_t { throw jaxmg::DeviceError("on purpose"); });
    ADD_FAILURE() << "answered";
  }),
            "rank 0 of 3 failed: on purpose");
}

// ---- Sizes: what no device is asked for

CholeskyProblem sized(index_t columns, index_t order, int ranks, index_t tile) {
  CholeskyProblem problem{columns, order, ranks, tile, 1, false};
  problem.engine = Engine::cusolvermg;
  return problem;
}

index_t tile_of(const CholeskyProblem& problem, bool inverts = false) {
  constexpr auto gpu = jaxmg::Platform::cuda;
  return inverts ? jaxmg::planned_inverse(problem, gpu, jaxmg::DType::f64).tile
                 : jaxmg::planned(problem, gpu, jaxmg::DType::f64).tile;
}

TEST(TeamSolverPlan, Tiles) {
  EXPECT_EQ(tile_of(sized(65536, 65536, 2, 0)), 2048);
  EXPECT_EQ(tile_of(sized(65536, 65536, 2, 0), true), 512);
  EXPECT_EQ(tile_of(sized(2 * 3000, 6000, 2, 0)), 1500) << "cuts 3000 evenly";
  EXPECT_EQ(tile_of(sized(2 * 10007, 20014, 2, 0)), 2048) << "10007 is prime";
  EXPECT_EQ(tile_of(sized(8 * 100, 800, 8, 0)), 100);
  EXPECT_EQ(tile_of(sized(8 * 100, 800, 8, 4096)), 100) << "no wider than a rank's columns";
  EXPECT_EQ(tile_of(sized(8 * 100, 800, 8, 7)), 7);
  EXPECT_EQ(tile_of(sized(8 * 100, 800, 8, 4096), true), 100);
  EXPECT_EQ(tile_of(sized(0, 0, 8, 0)), 1);
  EXPECT_FALSE(
      jaxmg::planned(sized(64, 64, 8, 0), jaxmg::Platform::cuda, jaxmg::DType::f64).on_one_rank);
}

template <class Call>
std::string refusal(const Call& call) {
  return message_of<InvalidArgument>(call);
}

TEST(TeamSolverPlan, RefusesTilesThatMakeWrongInverses) {
  EXPECT_EQ(tile_of(sized(65536, 65536, 2, 1023), true), 1023);
  EXPECT_NE(refusal([] {
              tile_of(sized(65536, 65536, 2, 1024), true);
            }).find("inverses are wrong with tiles of 1024 and more, got 1024"),
            std::string::npos);
  EXPECT_EQ(tile_of(sized(65536, 65536, 2, 4096)), 4096) << "solutions are right";
}

TEST(TeamSolverPlan, RefusesCpusAndSizesBeyondInt) {
  EXPECT_NE(refusal([] {
              jaxmg::planned(sized(64, 64, 8, 0), jaxmg::Platform::cpu, jaxmg::DType::f64);
            }).find("cusolvermg is NVIDIA's library for its GPUs"),
            std::string::npos);
  const index_t many = index_t{1} << 31;
  EXPECT_NE(refusal([=] { tile_of(sized(many, many, 2, 0)); }).find("orders up to 2^31 - 1"),
            std::string::npos);
}

#ifdef JAXMG_WITH_CUDA
TEST(CusolverMgLibrary, MissingOnesAreNamed) {
  try {
    jaxmg::cusolvermg::load({"/nowhere/libcusolverMg.so.12", "", "libnobody_has_this.so"});
    FAIL() << "loaded";
  } catch (const jaxmg::DeviceError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("cuSOLVERMg cannot be used: /nowhere/libcusolverMg.so.12"),
              std::string::npos);
    EXPECT_NE(text.find("libnobody_has_this.so"), std::string::npos);
    EXPECT_NE(text.find("comes with CUDA's cuSOLVER"), std::string::npos);
  }
}

TEST(CusolverMgLibrary, AnotherLibraryIsNotTaken) {
  try {
    jaxmg::cusolvermg::load({"libm.so.6"});
    FAIL() << "loaded";
  } catch (const jaxmg::DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("libm.so.6 has no cusolverMgCreate"),
              std::string::npos);
  }
}

TEST(CusolverMgLibrary, IsFoundBesideCusolver) {
  const jaxmg::cusolvermg::Library& mg = jaxmg::cusolvermg::library();
  EXPECT_NE(mg.cusolverMgPotri, nullptr);
  EXPECT_EQ(&mg, &jaxmg::cusolvermg::library());
}
#endif

}  // namespace
