// The kinds of devices that one test text runs on. A typed test's parameter is a Kind, or a kind
// and a scalar type: On<Kind, T>. A suite's name has "Cuda" in it where it runs on GPUs, and is
// skipped where there is none.
#pragma once

#include <array>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "api/public/engine.hpp"
#include "stream_socket.hpp"
#include "team/processes/exchange.hpp"
#include "team/processes/ring_link.hpp"
#include "testing/setting.hpp"
#ifdef JAXMG_EMULATED
#include "device/cuda/backend.hpp"
#elif defined(JAXMG_WITH_CUDA)
#include "team/cuda/device_team.hpp"
#endif

namespace jaxmg::testing {

using jaxmg_testing::Setting;

/// CPU ranks.
struct Cpu {
  using Backend = cpu::Backend;
  template <class T>
  using Vector = std::vector<T>;
  static constexpr const char* name = "Cpu";

  static bool is_here() { return true; }
  static Team team(const Setting& setting) { return jaxmg_testing::cpu_team(setting); }
  static std::unique_ptr<cpu::Device> device() { return std::make_unique<cpu::Device>(); }
  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    with_engine(team(setting), [&]<class Engine>(const Engine& engine) {
      if constexpr (std::is_same_v<typename Engine::Backend, Backend>) engine.run(program);
    });
  }
};

/// CPU ranks on a backend that is not the library's own.
template <class B>
void run_cpu_ranks(const Setting& setting, const RankProgram<B>& program) {
  LocalTeamCall<B> call(setting.ranks, {setting.reads_peers_directly, std::chrono::seconds(60)});
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(setting.ranks));
  std::vector<std::thread> threads;
  cpu::set_permits(2);
  for (int p = 0; p < setting.ranks; ++p) {
    threads.emplace_back([&, p] {
      cpu::Device device;
      failures[static_cast<std::size_t>(p)] = run_rank<B>(call, p, device, program);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

/// CPU ranks that do what GPUs do where a backend has a choice.
struct Substituting : Cpu {
  struct Backend : cpu::Backend {
    static constexpr auto panel_method = PanelMethod::block_substitution;
    static constexpr bool overlaps_products = true;
  };
  static_assert(jaxmg::Backend<Backend>);
  static constexpr const char* name = "Substituting";

  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    run_cpu_ranks<Backend>(setting, program);
  }
};

/// CPU ranks in two processes of a job, dealt in turn, where they do not read peers directly. Both
/// processes are this one, with an exchange each: they share nothing else, and neither knows. Or
/// each process takes the other's host for another one.
template <bool on_two_hosts>
struct RanksOfProcesses : Cpu {
  static constexpr const char* name = on_two_hosts ? "Hosts" : "Processes";
  static constexpr int count = 2;

  static std::array<processes::Exchange*, count> make_exchanges() {
    const std::string job = "test-" + std::to_string(getpid());
    std::array<processes::Exchange*, count> all{};
    std::map<int, processes::Contact> before;
    for (int process = 0; process < count; ++process) {
      std::string name_on_host = job;
      processes::Network network;
      if (on_two_hosts) {
        ListeningStream stream;
        name_on_host += "-host-" + std::to_string(process);
        network = {stream.release(), stream.contact(), job, before};
        before[process] = stream.contact();
      }
      all[static_cast<std::size_t>(process)] = new processes::Exchange(
          {name_on_host, process, count}, processes::RingLink::make, std::move(network));
    }
    return all;
  }
  static processes::Exchange& exchange(int process) {
    static const auto all = make_exchanges();
    return *all[static_cast<std::size_t>(process)];
  }

  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    if (setting.reads_peers_directly) return Cpu::run(setting, program);
    static std::int64_t ticket = 0;
    ++ticket;
    std::vector<std::future<void>> outcomes;
    for (int p = 0; p < setting.ranks; ++p) {
      const auto outcome = std::make_shared<std::promise<void>>();
      outcomes.push_back(outcome->get_future());
      RankTask task{program, [outcome](const std::exception_ptr& failure) {
                      if (failure) {
                        outcome->set_exception(failure);
                      } else {
                        outcome->set_value();
                      }
                    }};
      exchange(p % count).arrive(
          {{0, 0, 0}, ticket},
          processes::spread({p, setting.ranks, "a test", std::move(task), nullptr}));
    }
    for (auto& outcome : outcomes) outcome.wait();
    for (auto& outcome : outcomes) outcome.get();
  }
};
using Processes = RanksOfProcesses<false>;
using Hosts = RanksOfProcesses<true>;

#ifdef JAXMG_EMULATED
/// CPU ranks whose operations are the CUDA backend's, its kernels run by emulated threads.
struct Emulated : Cpu {
  using Backend = emulated::Backend;
  static constexpr const char* name = "Emulated";

  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    run_cpu_ranks<Backend>(setting, program);
  }
};
#endif

#ifdef JAXMG_WITH_CUDA
/// Memory that host and GPUs see alike, once the GPU's work is done.
template <class T>
struct ManagedAllocator {
  using value_type = T;
  ManagedAllocator() = default;
  template <class U>
  ManagedAllocator(const ManagedAllocator<U>&) {}  // NOLINT(google-explicit-constructor)

  T* allocate(std::size_t count) {
    void* memory = nullptr;
    JAXMG_CUDA(cudaMallocManaged(&memory, count * sizeof(T), cudaMemAttachGlobal));
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t) { cudaFree(memory); }
  bool operator==(const ManagedAllocator&) const { return true; }
};

/// Ranks on all GPUs that there are, in turn.
struct Cuda {
  using Backend = cuda::Backend;
  template <class T>
  using Vector = std::vector<T, ManagedAllocator<T>>;
  static constexpr const char* name = "Cuda";

  static bool is_here() { return cuda_device_count() > 0; }
  static Team team(const Setting& setting) { return jaxmg_testing::cuda_team(setting); }
  static std::unique_ptr<cuda::Device> device() { return std::make_unique<cuda::Device>(0); }
  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    with_engine(team(setting), [&]<class Engine>(const Engine& engine) {
      if constexpr (std::is_same_v<typename Engine::Backend, Backend>) engine.run(program);
    });
  }
};
#endif

#ifdef JAXMG_WITH_CUDA
/// GPU ranks in two processes of a job, dealt in turn. Both processes are this one, as for
/// Processes. By stations each process has all GPUs that there are; by NCCL, which does not let a
/// GPU talk to itself, every other one.
template <cuda::Sharing sharing>
struct CudaRanksOfProcesses : Cuda {
  static constexpr bool by_nccl = sharing == cuda::Sharing::nccl;
  static constexpr const char* name = by_nccl ? "CudaNccl" : "CudaProcesses";
  static constexpr int count = 2;

  static bool is_here() { return gpus() > 0; }
  static int gpus() { return cuda_device_count() / (by_nccl ? count : 1) * (by_nccl ? count : 1); }

  static processes::Exchange& exchange(int process) {
    static const std::string job = name + std::to_string(getpid());
    static const auto link = cuda::DeviceLink::make(cuda_device_count(), sharing);
    static const std::array<processes::Exchange*, count> all{
        new processes::Exchange({job, 0, count}, link),
        new processes::Exchange({job, 1, count}, link)};
    return *all[static_cast<std::size_t>(process)];
  }

  /// One rank, by a thread of its own, as a launch thread of XLA does it.
  static std::exception_ptr run_one(int rank, const Setting& setting, std::int64_t ticket,
                                    const RankProgram<Backend>& program) {
    const int ordinal = rank % gpus();
    JAXMG_CUDA(cudaSetDevice(ordinal));
    cudaStream_t stream = nullptr;
    JAXMG_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    std::exception_ptr failure;
    {
      cuda::Device device(ordinal, stream);
      processes::Exchange& mine = exchange(rank % count);
      std::promise<std::pair<std::shared_ptr<processes::Member>, std::function<void()>>> met;
      processes::SpreadTask task;
      task.place = static_cast<cuda::DeviceLink&>(mine.link()).open(ordinal);
      task.start = [&met](const std::shared_ptr<processes::Member>& team,
                          const std::function<void()>& ended) {
        met.set_value({team, ended});
      };
      task.done = [&met](const std::exception_ptr& refused) { met.set_exception(refused); };
      mine.arrive({{0, 0, 0}, ticket}, {rank, setting.ranks, "a test", std::move(task), nullptr});
      const auto [team, ended] = met.get_future().get();
      failure = run_rank(static_cast<cuda::DeviceTeamCall&>(*team), rank, device, program);
      ended();
    }
    JAXMG_CUDA(cudaStreamSynchronize(stream));
    JAXMG_CUDA(cudaStreamDestroy(stream));
    return failure;
  }

  static void run(const Setting& setting, const RankProgram<Backend>& program) {
    static std::int64_t ticket = 0;
    ++ticket;
    std::vector<std::future<std::exception_ptr>> outcomes;
    for (int p = 0; p < setting.ranks; ++p) {
      outcomes.push_back(std::async(std::launch::async, [&, p, number = ticket] {
        return run_one(p, setting, number, program);
      }));
    }
    std::exception_ptr first;
    for (auto& outcome : outcomes) {
      if (const std::exception_ptr failure = outcome.get(); failure && !first) first = failure;
    }
    if (first) std::rethrow_exception(first);
  }
};
using CudaProcesses = CudaRanksOfProcesses<cuda::Sharing::automatic>;
using CudaNccl = CudaRanksOfProcesses<cuda::Sharing::nccl>;
#endif

/// A kind of device and a scalar type.
template <class Kind_, class T>
struct On {
  using Kind = Kind_;
  using type = T;
};

#define JAXMG_ON_ALL_SCALARS(Kind) \
  On<Kind, float>, On<Kind, double>, On<Kind, std::complex<float>>, On<Kind, std::complex<double>>

using OnCpu = ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu)>;
using OnCpuAndProcesses =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Processes)>;
/// Whatever the CPU can play, for what only rank programs show.
using OnCpuPrograms =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Substituting),
                     JAXMG_ON_ALL_SCALARS(Processes)>;
#define JAXMG_ON_REALS(Kind) On<Kind, float>, On<Kind, double>
#ifdef JAXMG_EMULATED
using OnAllKinds = ::testing::Types<On<Emulated, float>, On<Emulated, std::complex<double>>>;
using OnRealsOfAllKinds = ::testing::Types<JAXMG_ON_REALS(Emulated)>;
using OnAllKindsAndProcesses = OnAllKinds;
#elif defined(JAXMG_WITH_CUDA)
using OnRealsOfAllKinds = ::testing::Types<JAXMG_ON_REALS(Cpu), JAXMG_ON_REALS(Cuda)>;
using OnAllKindsAndProcesses =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Processes),
                     JAXMG_ON_ALL_SCALARS(Cuda), JAXMG_ON_ALL_SCALARS(CudaProcesses)>;
using Devices = ::testing::Types<Cpu, Cuda>;
using Kinds = ::testing::Types<Cpu, Processes, Cuda, CudaProcesses, CudaNccl>;
using OnAllKinds = ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Cuda)>;
using OnSubstitutingKinds =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Substituting), JAXMG_ON_ALL_SCALARS(Cuda)>;
using OnAllPrograms =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Substituting),
                     JAXMG_ON_ALL_SCALARS(Processes), JAXMG_ON_ALL_SCALARS(Cuda),
                     JAXMG_ON_ALL_SCALARS(CudaProcesses), On<CudaNccl, double>>;
#else
using OnRealsOfAllKinds = ::testing::Types<JAXMG_ON_REALS(Cpu)>;
using OnAllKindsAndProcesses =
    ::testing::Types<JAXMG_ON_ALL_SCALARS(Cpu), JAXMG_ON_ALL_SCALARS(Processes)>;
using Devices = ::testing::Types<Cpu>;
using Kinds = ::testing::Types<Cpu, Processes>;
using OnAllKinds = OnCpu;
using OnSubstitutingKinds = ::testing::Types<JAXMG_ON_ALL_SCALARS(Substituting)>;
using OnAllPrograms = OnCpuPrograms;
#endif

/// For TYPED_TEST_SUITE: Cpu, or CudaDouble.
struct KindNames {
  template <class P>
  static std::string GetName(int) {
    if constexpr (requires { P::name; }) {
      return P::name;
    } else {
      constexpr const char* scalars[] = {"Float", "Double", "ComplexFloat", "ComplexDouble"};
      return std::string(P::Kind::name) + scalars[static_cast<int>(dtype_of<typename P::type>())];
    }
  }
};

/// Skipped where there is no such device. No random scheduling is left behind.
template <class Kind>
class KindTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Kind::is_here()) GTEST_SKIP() << "no GPU";
  }
  void TearDown() override { set_cpu_chaos(0); }
};

/// The factor of A on a team of P's kind.
template <class P, Scalar T>
CholeskyFactor<T> factor(const jaxmg_testing::HostMatrix<T>& A, const Setting& setting) {
  return jaxmg_testing::factor_on(P::Kind::team(setting), A, setting.tile);
}

/// A copy of host data that a kind's devices can work on.
template <class Kind, Scalar T>
class Shared {
 public:
  explicit Shared(const jaxmg_testing::HostMatrix<T>& host)
      : rows_(host.rows()),
        cols_(host.cols()),
        values_(host.values().begin(), host.values().end()) {}
  Shared(index_t rows, index_t cols) : Shared(jaxmg_testing::HostMatrix<T>(rows, cols)) {}

  MatrixView<T> view() { return {values_.data(), rows_, cols_, rows_}; }
  jaxmg_testing::HostMatrix<T> host() const {
    jaxmg_testing::HostMatrix<T> copy(rows_, cols_);
    std::copy(values_.begin(), values_.end(), copy.view().data);
    return copy;
  }

 private:
  index_t rows_, cols_;
  typename Kind::template Vector<T> values_;
};

}  // namespace jaxmg::testing
