#include <stdexcept>

#include <cusolverDn.h>

#include "matrices.cuh"

namespace jaxmg_baselines {
namespace {

using DnHandle = Handle<cusolverDnHandle_t, cusolverDnDestroy>;
using DnParams = Handle<cusolverDnParams_t, cusolverDnDestroyParams>;

template <class T>
Measurement run(const Case& c) {
  constexpr cublasFillMode_t lower = CUBLAS_FILL_MODE_LOWER;
  constexpr cudaDataType type = Traits<T>::data_type;
  const int device = c.devices.front();
  const std::vector<int> devices{device};
  const PositiveDefinite<T> matrix{c.n};
  const Random<T> vector{1};

  select(device);
  const DnHandle handle(cusolverDnCreate);
  const DnParams params(cusolverDnCreateParams);
  const Buffer<T> a(device, c.n * c.n), b(device, c.n);
  const Buffer<int> info(device, 1);
  std::size_t on_device = 0, on_host = 0;
  BASELINES_CUDA(cusolverDnXpotrf_bufferSize(handle, params, lower, c.n, type, a.data(), c.n, type,
                                             &on_device, &on_host));
  const Buffer<char> work(device, static_cast<std::int64_t>(on_device));
  std::vector<char> host_work(on_host);
  const auto expect_no_info = [&](const char* what) {
    const int value = info.to_host().front();
    if (value != 0) throw std::runtime_error(std::string(what) + ": info " + std::to_string(value));
  };

  Stage factor{"potrf", {}, {}}, solve{"potrs", {}, {}};
  for (int i = -c.warmups; i < c.repeats; ++i) {
    fill(device, a.data(), c.n, c.n, matrix);
    fill(device, b.data(), c.n, 1, vector);
    factor.add(i < 0, seconds_of(
                          devices,
                          [&] {
                            BASELINES_CUDA(cusolverDnXpotrf(
                                handle, params, lower, c.n, type, a.data(), c.n, type, work.data(),
                                on_device, host_work.data(), on_host, info.data()));
                          }));
    expect_no_info("cusolverDnXpotrf");
    solve.add(i < 0,
              seconds_of(
                  devices,
                  [&] {
                    BASELINES_CUDA(cusolverDnXpotrs(handle, params, lower, c.n, 1, type, a.data(),
                                                    c.n, type, b.data(), c.n, info.data()));
                  }));
    expect_no_info("cusolverDnXpotrs");
  }

  const auto n = static_cast<double>(c.n);
  Measurement result;
  result.flops = operations<T>(n * n * n / 3 + 2 * n * n);
  result.stages = {factor, solve};
  if (c.check) {
    result.residual = solve_residual(device, matrix, random_vector<T>(c.n, 1), b.to_host());
  }
  return result;
}

}  // namespace

Measurement cusolver_dn_potrs(const Case& c) {
  return visit(c.dtype, [&]<class T>() { return run<T>(c); });
}

}  // namespace jaxmg_baselines
