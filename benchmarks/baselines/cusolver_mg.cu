#include <stdexcept>

#include <cusolverMg.h>

#include "matrices.cuh"

namespace jaxmg_baselines {
namespace {

using MgHandle = Handle<cusolverMgHandle_t, cusolverMgDestroy>;
using MgGrid = Handle<cudaLibMgGrid_t, cusolverMgDestroyGrid>;
using MgDescriptor = Handle<cudaLibMgMatrixDesc_t, cusolverMgDestroyMatrixDesc>;

constexpr cublasFillMode_t lower = CUBLAS_FILL_MODE_LOWER;
constexpr std::size_t most_devices = 16;

/// cuSOLVERMg reads the devices' memories from each other; without this it stages through the host.
void enable_peer_access(const std::vector<int>& devices) {
  for (const int device : devices) {
    select(device);
    for (const int peer : devices) {
      if (peer == device) continue;
      const cudaError_t status = cudaDeviceEnablePeerAccess(peer, 0);
      if (status == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();
      } else {
        BASELINES_CUDA(status);
      }
    }
  }
}

MgHandle make_handle(const std::vector<int>& devices, std::vector<std::int32_t> ids) {
  enable_peer_access(devices);
  MgHandle handle((select(devices.front()), cusolverMgCreate));
  BASELINES_CUDA(cusolverMgDeviceSelect(handle, static_cast<int>(ids.size()), ids.data()));
  return handle;
}

/// A buffer on each device, and their addresses as cuSOLVERMg takes them.
template <class T>
class Buffers {
 public:
  Buffers(const std::vector<int>& devices, std::int64_t count) {
    for (const int device : devices) {
      buffers_.emplace_back(device, count);
      addresses_.push_back(buffers_.back().data());
    }
  }

  void** addresses() { return addresses_.data(); }
  T* on(std::size_t device) const { return buffers_[device].data(); }
  const Buffer<T>& first() const { return buffers_.front(); }

 private:
  std::vector<Buffer<T>> buffers_;
  std::vector<void*> addresses_;
};

/// The lower triangle of a Hermitian matrix in tiles of columns, dealt to devices in turn, whose
/// memories can all be read from here.
template <class T>
struct HermitianInTiles {
  const T* data[most_devices];
  std::int64_t n;
  std::int64_t tile;
  std::int64_t devices;

  __device__ T operator()(std::int64_t i, std::int64_t j) const {
    if (i < j) {
      if constexpr (Traits<T>::is_complex) {
        return conj(stored(j, i));
      } else {
        return stored(j, i);
      }
    }
    return stored(i, j);
  }

  __device__ T stored(std::int64_t i, std::int64_t j) const {
    const std::int64_t k = j / tile;
    return data[k % devices][(k / devices * tile + j % tile) * n + i];
  }
};

/// A factorisation on all devices. The routine after it asks for its workspace with `demand`,
/// before `factor` is called.
template <class T>
class Mg {
 public:
  static constexpr cudaDataType type = Traits<T>::data_type;

  explicit Mg(const Case& c)
      : case_(c),
        n_(static_cast<int>(c.n)),
        count_(static_cast<std::int64_t>(c.devices.size())),
        ids_(c.devices.begin(), c.devices.end()),
        handle_(make_handle(c.devices, ids_)),
        grid_(cusolverMgCreateDeviceGrid, 1, static_cast<std::int32_t>(count_), ids_.data(),
              CUDALIBMG_GRID_MAPPING_COL_MAJOR),
        descriptor_(cusolverMgCreateMatrixDesc, c.n, c.n, c.n, c.tile, type,
                    static_cast<cudaLibMgGrid_t>(grid_)),
        tiles_((c.n + c.tile - 1) / c.tile),
        local_columns_((tiles_ + count_ - 1) / count_ * c.tile),
        a_(c.devices, c.n * local_columns_) {
    std::int64_t elements = 0;
    BASELINES_CUDA(
        cusolverMgPotrf_bufferSize(handle_, lower, n_, a(), 1, 1, descriptor_, type, &elements));
    demand(elements);
  }

  cusolverMgHandle_t handle() const { return handle_; }
  cudaLibMgGrid_t grid() const { return grid_; }
  cudaLibMgMatrixDesc_t descriptor() const { return descriptor_; }
  int n() const { return n_; }
  void** a() { return a_.addresses(); }
  void** work() { return work_.front().addresses(); }
  std::int64_t work_elements() const { return elements_; }

  void demand(std::int64_t elements) { elements_ = std::max(elements_, elements); }

  /// Makes A anew, and returns the seconds of its factorisation.
  double factor() {
    if (work_.empty()) work_.emplace_back(case_.devices, elements_);
    for (std::size_t d = 0; d < case_.devices.size(); ++d) {
      fill(case_.devices[d], a_.on(d), case_.n, local_columns_, PositiveDefinite<T>{case_.n},
           {case_.tile, count_, static_cast<std::int64_t>(d)});
    }
    return seconds("cusolverMgPotrf", [&](int* info) {
      return cusolverMgPotrf(handle_, lower, n_, a(), 1, 1, descriptor_, type, work(), elements_,
                             info);
    });
  }

  /// Of a call of the library, whose info must be 0.
  template <class Call>
  double seconds(const char* what, const Call& call) {
    int info = 0;
    const double time = seconds_of(case_.devices, [&] { BASELINES_CUDA(call(&info)); });
    if (info != 0) throw std::runtime_error(std::string(what) + ": info " + std::to_string(info));
    return time;
  }

  HermitianInTiles<T> view() const {
    HermitianInTiles<T> view{{}, case_.n, case_.tile, count_};
    for (std::size_t d = 0; d < case_.devices.size(); ++d) view.data[d] = a_.on(d);
    return view;
  }

 private:
  Case case_;
  int n_;
  std::int64_t count_;
  std::vector<std::int32_t> ids_;
  MgHandle handle_;
  MgGrid grid_;
  MgDescriptor descriptor_;
  std::int64_t tiles_;
  std::int64_t local_columns_;
  Buffers<T> a_;
  std::int64_t elements_ = 0;
  std::vector<Buffers<T>> work_;  ///< none or one: its size is known when all have demanded
};

template <class T>
Measurement run_potrs(const Case& c) {
  const int device = c.devices.front();
  Mg<T> mg(c);
  // The one column is on the first device; the others hold room for a tile, as in NVIDIA's example.
  const MgDescriptor of_b(cusolverMgCreateMatrixDesc, c.n, std::int64_t{1}, c.n, c.tile,
                          Mg<T>::type, mg.grid());
  Buffers<T> b(c.devices, c.n * c.tile);
  std::int64_t elements = 0;
  BASELINES_CUDA(cusolverMgPotrs_bufferSize(mg.handle(), lower, mg.n(), 1, mg.a(), 1, 1,
                                            mg.descriptor(), b.addresses(), 1, 1, of_b, Mg<T>::type,
                                            &elements));
  mg.demand(elements);

  Stage factor{"potrf", {}, {}}, solve{"potrs", {}, {}};
  for (int i = -c.warmups; i < c.repeats; ++i) {
    factor.add(i < 0, mg.factor());
    fill(device, b.on(0), c.n, 1, Random<T>{1});
    solve.add(i < 0, mg.seconds(
                         "cusolverMgPotrs",
                         [&](int* info) {
                           return cusolverMgPotrs(mg.handle(), lower, mg.n(), 1, mg.a(), 1, 1,
                                                  mg.descriptor(), b.addresses(), 1, 1, of_b,
                                                  Mg<T>::type, mg.work(), mg.work_elements(), info);
                         }));
  }

  const auto n = static_cast<double>(c.n);
  Measurement result;
  result.flops = operations<T>(n * n * n / 3 + 2 * n * n);
  result.stages = {factor, solve};
  if (c.check) {
    std::vector<T> x(static_cast<std::size_t>(c.n));
    BASELINES_CUDA(cudaMemcpy(x.data(), b.on(0), x.size() * sizeof(T), cudaMemcpyDefault));
    result.residual = solve_residual(device, PositiveDefinite<T>{c.n}, random_vector<T>(c.n, 1), x);
  }
  return result;
}

template <class T>
Measurement run_potri(const Case& c) {
  const int device = c.devices.front();
  Mg<T> mg(c);
  std::int64_t elements = 0;
  BASELINES_CUDA(cusolverMgPotri_bufferSize(mg.handle(), lower, mg.n(), mg.a(), 1, 1,
                                            mg.descriptor(), Mg<T>::type, &elements));
  mg.demand(elements);

  Stage factor{"potrf", {}, {}}, invert{"potri", {}, {}};
  for (int i = -c.warmups; i < c.repeats; ++i) {
    factor.add(i < 0, mg.factor());
    invert.add(i < 0, mg.seconds(
                          "cusolverMgPotri",
                          [&](int* info) {
                            return cusolverMgPotri(mg.handle(), lower, mg.n(), mg.a(), 1, 1,
                                                   mg.descriptor(), Mg<T>::type, mg.work(),
                                                   mg.work_elements(), info);
                          }));
  }

  const auto n = static_cast<double>(c.n);
  Measurement result;
  result.flops = operations<T>(n * n * n);
  result.stages = {factor, invert};
  if (c.check) {
    // ||v - A (X v)|| / (n eps ||A|| ||X|| ||v||) for a random v.
    const std::vector<Wide> v = random_vector<T>(c.n, 1);
    const Product x_v = multiply(device, mg.view(), v);
    const Product a_x_v = multiply(device, PositiveDefinite<T>{c.n}, x_v.y);
    result.residual =
        norm(difference(v, a_x_v.y)) / (n * epsilon<T>() * a_x_v.norm * x_v.norm * norm(v));
  }
  return result;
}

void expect_what_cusolver_mg_can(const Case& c) {
  if (c.n > std::numeric_limits<int>::max()) {
    throw std::invalid_argument("n: cuSOLVERMg takes 32-bit integers, got " + std::to_string(c.n));
  }
  if (c.devices.size() > most_devices) {
    throw std::invalid_argument("devices: expected at most " + std::to_string(most_devices));
  }
}

}  // namespace

Measurement cusolver_mg_potrs(const Case& c) {
  expect_what_cusolver_mg_can(c);
  return visit(c.dtype, [&]<class T>() { return run_potrs<T>(c); });
}

Measurement cusolver_mg_potri(const Case& c) {
  expect_what_cusolver_mg_can(c);
  return visit(c.dtype, [&]<class T>() { return run_potri<T>(c); });
}

}  // namespace jaxmg_baselines
