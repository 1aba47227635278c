#include "engines/cusolvermg/solver.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "device/cuda/current_device.hpp"
#include "device/cuda/device.hpp"
#include "engines/cusolvermg/handles.hpp"
#include "engines/cusolvermg/sharing.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cusolvermg {
namespace {

constexpr cublasFillMode_t lower = CUBLAS_FILL_MODE_LOWER;

/// Right-hand sides of one call of potrs: as many as the published JAXMg allows in all. They lie on
/// the first device, as one tile; further ones are further calls.
constexpr index_t widest_right_hand_side = 256;

cudaDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f64:
      return CUDA_R_64F;
    case DType::c64:
      return CUDA_C_32F;
    default:
      return CUDA_C_64F;
  }
}

/// Of its eigenvalues.
cudaDataType real_type(DType dtype) {
  return dtype == DType::f32 || dtype == DType::c64 ? CUDA_R_32F : CUDA_R_64F;
}

index_t element_bytes(DType dtype) {
  return visit(dtype, []<class T>() { return static_cast<index_t>(sizeof(T)); });
}

int narrow(index_t size) {
  if (size > std::numeric_limits<int>::max()) {
    throw InvalidArgument("cuSOLVERMg takes sizes up to 2^31 - 1, got " + std::to_string(size));
  }
  return static_cast<int>(size);
}

/// "; GPU 0 cannot read GPU 2's memory, which cuSOLVERMg may need", or nothing.
std::string missing_peers(const std::vector<int>& devices) {
  for (const int device : devices) {
    for (const int peer : devices) {
      int reachable = 1;
      if (device != peer) cudaDeviceCanAccessPeer(&reachable, device, peer);
      if (reachable != 0) continue;
      return "; GPU " + std::to_string(device) + " cannot read GPU " + std::to_string(peer) +
             "'s memory, which cuSOLVERMg may need";
    }
  }
  return "";
}

class Solver final : public TeamSolver {
 public:
  explicit Solver(const TeamMatrix& matrix)
      : mg_(library()),
        matrix_(matrix),
        n_(narrow(matrix.order)),
        type_(data_type(matrix.dtype)),
        real_type_(real_type(matrix.dtype)),
        handle_(mg_, matrix.devices),
        grid_(mg_, matrix.devices),
        of_a_(mg_, matrix.order, matrix.order, matrix.tile, type_, grid_) {}

  std::size_t scratch_bytes() override {
    const cuda::CurrentDevice current(matrix_.devices.front());
    const bool inverts = matrix_.routine == TeamRoutine::potri;
    if (inverts || matrix_.routine == TeamRoutine::potrs) {
      want([&](std::int64_t* elements) {
        return mg_.cusolverMgPotrf_bufferSize(handle_, lower, n_, a(), 1, 1, of_a_, type_,
                                              elements);
      });
    } else {
      std::vector<double> w(static_cast<std::size_t>(n_));
      want([&](std::int64_t* elements) {
        return mg_.cusolverMgSyevd_bufferSize(handle_, mode(), lower, n_, a(), 1, 1, of_a_,
                                              w.data(), real_type_, type_, elements);
      });
    }
    if (inverts) {
      want([&](std::int64_t* elements) {
        return mg_.cusolverMgPotri_bufferSize(handle_, lower, n_, a(), 1, 1, of_a_, type_,
                                              elements);
      });
    }
    for_right_hand_sides([&](int count, void** b, const Descriptor& of_b) {
      want([&](std::int64_t* elements) {
        return mg_.cusolverMgPotrs_bufferSize(handle_, lower, n_, count, a(), 1, 1, of_a_, b, 1, 1,
                                              of_b, type_, elements);
      });
    });
    return static_cast<std::size_t>(elements_ * element_bytes(matrix_.dtype));
  }

  void use_scratch(std::vector<void*> of_ranks) override { scratch_ = std::move(of_ranks); }

  std::int64_t potrf() override {
    int info = 0;
    cusolverStatus_t status = CUSOLVER_STATUS_SUCCESS;
    run("cusolverMgPotrf", [&] {
      status = mg_.cusolverMgPotrf(handle_, lower, n_, a(), 1, 1, of_a_, type_, scratch_.data(),
                                   elements_, &info);
      // Its way to say that A is not positive definite, with an info or without.
      const bool stopped = status == CUSOLVER_STATUS_INTERNAL_ERROR;
      if (!stopped) cuda::check(status, "cusolverMgPotrf");
      return std::min(info, 0);
    });
    if (info > 0) return info;
    return status == CUSOLVER_STATUS_SUCCESS ? 0 : -1;
  }

  void potrs() override {
    for_right_hand_sides([&](int count, void** b, const Descriptor& of_b) {
      run("cusolverMgPotrs", [&] {
        int info = 0;
        JAXMG_CUDA(mg_.cusolverMgPotrs(handle_, lower, n_, count, a(), 1, 1, of_a_, b, 1, 1, of_b,
                                       type_, scratch_.data(), elements_, &info));
        return info;
      });
    });
  }

  std::int64_t syevd(void* w) override {
    int info = 0;
    run("cusolverMgSyevd", [&] {
      JAXMG_CUDA(mg_.cusolverMgSyevd(handle_, mode(), lower, n_, a(), 1, 1, of_a_, w, real_type_,
                                     type_, scratch_.data(), elements_, &info));
      return std::min(info, 0);
    });
    return info;
  }

  void potri() override {
    run("cusolverMgPotri", [&] {
      int info = 0;
      JAXMG_CUDA(mg_.cusolverMgPotri(handle_, lower, n_, a(), 1, 1, of_a_, type_, scratch_.data(),
                                     elements_, &info));
      return info;
    });
  }

 private:
  void** a() { return matrix_.shares.data(); }

  cusolverEigMode_t mode() const {
    return matrix_.routine == TeamRoutine::syevd ? CUSOLVER_EIG_MODE_VECTOR
                                                 : CUSOLVER_EIG_MODE_NOVECTOR;
  }

  /// Scratch for one more call: ask(&elements) of the library.
  template <class Ask>
  void want(const Ask& ask) {
    std::int64_t elements = 0;
    JAXMG_CUDA(ask(&elements));
    elements_ = std::max(elements_, elements);
  }

  /// No rank's memory may be given back while the library is at work there.
  void finish_all() const {
    for (const int device : matrix_.devices) {
      if (cudaSetDevice(device) == cudaSuccess) cudaDeviceSynchronize();
    }
    cudaGetLastError();
  }

  /// call(), from the first device, and all that it leaves the devices to do. The info that it
  /// returns must be 0.
  template <class Call>
  void run(const char* name, const Call& call) {
    const cuda::CurrentDevice current(matrix_.devices.front());
    int info = 0;
    try {
      info = call();
      for (const int device : matrix_.devices) {
        current.select(device);
        JAXMG_CUDA(cudaDeviceSynchronize());
      }
    } catch (const DeviceError& error) {
      finish_all();
      throw DeviceError(error.what() + missing_peers(matrix_.devices));
    } catch (...) {
      finish_all();
      throw;
    }
    if (info != 0) throw DeviceError(std::string(name) + ": info " + std::to_string(info));
  }

  /// f(count, addresses, descriptor) for the columns of b, as many at a time as the library takes.
  template <class F>
  void for_right_hand_sides(const F& f) {
    const cuda::CurrentDevice current(matrix_.devices.front());
    for (index_t first = 0; first < matrix_.rhs; first += widest_right_hand_side) {
      const index_t count = std::min(widest_right_hand_side, matrix_.rhs - first);
      const auto skipped = first * matrix_.order * element_bytes(matrix_.dtype);
      std::vector<void*> b;
      for (void* const columns : matrix_.columns) {
        b.push_back(static_cast<std::byte*>(columns) + skipped);
      }
      const Descriptor of_b(mg_, matrix_.order, count, count, type_, grid_);
      f(static_cast<int>(count), b.data(), of_b);
    }
  }

  const Library& mg_;
  TeamMatrix matrix_;
  int n_;
  cudaDataType type_;
  cudaDataType real_type_;
  cuda::CurrentDevice current_;  ///< what it is now is so again when the handle is gone
  Handle handle_;
  Grid grid_;
  Descriptor of_a_;
  std::int64_t elements_ = 0;  ///< of scratch, on each device
  std::vector<void*> scratch_;
};

}  // namespace

std::unique_ptr<TeamSolver> make_solver(const TeamMatrix& matrix) {
  const cuda::CurrentDevice current(matrix.devices.front());
  for (const int device : matrix.devices) cuda::reach_peers(device);  // also other processes' ones
  return std::make_unique<Solver>(matrix);
}

TeamSolverSeat seat_on(int device, std::function<void*(std::size_t bytes)> allocate) {
  const auto offer_of_device = [device](void* memory, const std::string& to) {
    return offer(device, memory, to);
  };
  return {this_process(), offer_of_device, reach, std::move(allocate), make_solver};
}

}  // namespace jaxmg::cusolvermg
