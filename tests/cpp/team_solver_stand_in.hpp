// A library that one rank calls for all: on CPU ranks a stand-in, which knows the layout by its
// definition and works on one rank's thread, on GPUs cuSOLVERMg.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <complex>
#include <cstring>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/team_solver_program.hpp"
#include "api/team_solver_syevd.hpp"
#include "kinds.hpp"
#include "testing/host_matrix.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/reference_eigenvalues.hpp"
#ifdef JAXMG_WITH_CUDA
#include "engines/cusolvermg/solver.hpp"
#endif

namespace jaxmg::testing {

using jaxmg_testing::HostMatrix;
using jaxmg_testing::quiet_nan;
using jaxmg_testing::reference_cholesky;
using jaxmg_testing::reference_eigen;

/// What a stand-in does besides solving.
struct Behaviour {
  std::function<void(const char* routine)> before = [](const char*) {};
  std::function<void(int rank)> before_offer = [](int) {};
  std::int64_t told = 0;  ///< what potrf() or syevd() returns, if not 0, whatever it finds
};

/// On host memory, by the textbook.
template <Scalar T>
class StandIn final : public TeamSolver {
 public:
  static constexpr std::size_t scratch = 40;

  StandIn(const TeamMatrix& matrix, const Behaviour& behaviour)
      : matrix_(matrix), behaviour_(behaviour) {
    behaviour_.before("make");
    EXPECT_EQ(matrix.dtype, dtype_of<T>());
    for (std::size_t p = 0; p < matrix.devices.size(); ++p) {
      EXPECT_EQ(matrix.devices[p], static_cast<int>(p));
    }
  }

  std::size_t scratch_bytes() override { return scratch; }
  void use_scratch(std::vector<void*> of_ranks) override {
    EXPECT_EQ(of_ranks.size(), matrix_.devices.size());
    for (void* const bytes : of_ranks) std::memset(bytes, 1, scratch);
  }

  std::int64_t potrf() override {
    behaviour_.before("potrf");
    L_ = HostMatrix<T>(matrix_.order, matrix_.order);
    for_lower([this](index_t i, index_t j, T& stored) { L_(i, j) = stored; });
    const std::int32_t info = reference_cholesky(L_);
    for_lower([this](index_t i, index_t j, T& stored) { stored = L_(i, j); });
    return behaviour_.told != 0 ? behaviour_.told : info;
  }
  void potrs() override {
    behaviour_.before("potrs");
    auto* const b = static_cast<T*>(matrix_.columns.front());
    for (index_t k = 0; k < matrix_.rhs; ++k) solve(b + k * matrix_.order);
  }
  void potri() override {
    behaviour_.before("potri");
    HostMatrix<T> X(matrix_.order, matrix_.order);
    for (index_t j = 0; j < matrix_.order; ++j) {
      X(j, j) = T(1);
      solve(&X(0, j));
    }
    for_lower([&X](index_t i, index_t j, T& stored) { stored = X(i, j); });
  }
  /// What it is given is finite, Hermitian and scaled.
  std::int64_t syevd(void* w) override {
    behaviour_.before("syevd");
    const bool with_vectors = matrix_.routine == TeamRoutine::syevd;
    EXPECT_TRUE(with_vectors || matrix_.routine == TeamRoutine::eigenvalues);
    HostMatrix<T> A(matrix_.order, matrix_.order);
    for_columns([&A](index_t i, index_t j, T& stored) { A(i, j) = stored; });
    double largest = 0;
    for (index_t j = 0; j < matrix_.order; ++j) {
      for (index_t i = 0; i < matrix_.order; ++i) {
        EXPECT_EQ(A(i, j), conjugate(A(j, i)));
        const auto x = std::complex<double>(std::real(A(i, j)), std::imag(A(i, j)));
        largest = std::max({largest, std::abs(x.real()), std::abs(x.imag())});
      }
    }
    EXPECT_TRUE((largest >= 0.5 && largest < 1) || largest == 0) << largest;
    const auto eigen = reference_eigen(A, with_vectors);
    for_columns([&](index_t i, index_t j, T& stored) {
      stored = with_vectors ? rounded(eigen.vectors(i, j)) : quiet_nan<T>();
    });
    std::transform(eigen.values.begin(), eigen.values.end(), static_cast<real_t<T>*>(w),
                   [](double value) { return static_cast<real_t<T>>(value); });
    return behaviour_.told;
  }

 private:
  /// f(i, j, entry) for all entries.
  template <class F>
  void for_columns(const F& f) {
    const auto ranks = static_cast<index_t>(matrix_.devices.size());
    for (index_t j = 0; j < matrix_.order; ++j) {
      const index_t k = j / matrix_.tile;
      auto* const share = static_cast<T*>(matrix_.shares[static_cast<std::size_t>(k % ranks)]);
      T* const column = share + (k / ranks * matrix_.tile + j % matrix_.tile) * matrix_.order;
      for (index_t i = 0; i < matrix_.order; ++i) f(i, j, column[i]);
    }
  }
  /// f(i, j, entry) for i >= j, and NaN above.
  template <class F>
  void for_lower(const F& f) {
    for_columns([&f](index_t i, index_t j, T& stored) {
      if (i < j) {
        stored = quiet_nan<T>();
      } else {
        f(i, j, stored);
      }
    });
  }

  template <class W>
  static T rounded(W x) {
    if constexpr (is_complex_v<T>) {
      return {static_cast<real_t<T>>(x.real()), static_cast<real_t<T>>(x.imag())};
    } else {
      return static_cast<T>(x);
    }
  }

  void solve(T* x) const {
    const index_t n = matrix_.order;
    for (index_t j = 0; j < n; ++j) {
      x[j] /= L_(j, j);
      for (index_t i = j + 1; i < n; ++i) x[i] -= L_(i, j) * x[j];
    }
    for (index_t j = n - 1; j >= 0; --j) {
      for (index_t i = j + 1; i < n; ++i) x[j] -= conjugate(L_(i, j)) * x[i];
      x[j] /= L_(j, j);
    }
  }

  TeamMatrix matrix_;
  Behaviour behaviour_;
  HostMatrix<T> L_;
};

/// Whether ranks read peers directly if they may: Processes would then be one process.
template <class Kind>
constexpr bool directly(bool may) {
  return may && !std::is_same_v<Kind, Processes>;
}

/// What tiles tests take. cuSOLVERMg is not safe with narrow ones on a GPU that has other work.
template <class Kind>
std::vector<index_t> tested_tiles() {
#ifdef JAXMG_WITH_CUDA
  if (std::is_same_v<Kind, CudaProcesses>) return {16, 20, 160};
#endif
  return {1, 4, 5, 160};
}

/// The seats of a team of one kind, and the scratch that they have given. What is called another
/// process is this one, so that stand-ins pass pointers.
template <class Kind, Scalar T>
class Seats {
 public:
  explicit Seats(int ranks, const Behaviour& behaviour = {})
      : scratch_(static_cast<std::size_t>(ranks)) {
    for (int p = 0; p < ranks; ++p) {
      TeamSolverSeat seat;
      seat.process = "this process";
      seat.offer = [behaviour, p](void* memory, const std::string& to) {
        EXPECT_EQ(to, "this process");
        behaviour.before_offer(p);
        const auto address = reinterpret_cast<std::uintptr_t>(memory);
        return Note{std::to_string(p) + ' ' + std::to_string(address), nullptr};
      };
      seat.reach = [held = held_](const Note& offered) {
        std::istringstream text(offered.text);
        int device = 0;
        std::uintptr_t address = 0;
        text >> device >> address;
        ++*held;
        return Reached{device, {reinterpret_cast<void*>(address), [held](void*) { --*held; }}};
      };
      Behaviour watched = behaviour;
      watched.before = [held = held_, before = behaviour.before](const char* routine) {
        EXPECT_GT(*held, 0);
        before(routine);
      };
      seat.make_solver = [watched](const TeamMatrix& matrix) {
        return std::make_unique<StandIn<T>>(matrix, watched);
      };
      seat.allocate = [this, p](std::size_t bytes) -> void* {
        auto& mine = scratch_[static_cast<std::size_t>(p)];
        mine = cpu::allocate<std::byte>(static_cast<index_t>(bytes));
        return mine.get();
      };
#ifdef JAXMG_WITH_CUDA
      if constexpr (std::is_base_of_v<Cuda, Kind>) {
        const int device = p % cuda_device_count();
        seat = cusolvermg::seat_on(device, [this, p, device](std::size_t bytes) -> void* {
          auto& mine = scratch_[static_cast<std::size_t>(p)];
          mine = cuda::allocate(device, bytes);
          return mine.get();
        });
      }
#endif
      seats_.push_back(std::move(seat));
    }
  }
  ~Seats() { EXPECT_EQ(*held_, 0); }
  Seats(const Seats&) = delete;
  Seats& operator=(const Seats&) = delete;

  TeamSolverSeat& operator[](int p) { return seats_[static_cast<std::size_t>(p)]; }

 private:
  /// Memories that rank 0 has reached and not let go.
  const std::shared_ptr<std::atomic<int>> held_ = std::make_shared<std::atomic<int>>(0);
  std::vector<TeamSolverSeat> seats_;
  std::vector<std::shared_ptr<void>> scratch_;
};

}  // namespace jaxmg::testing
