#include <cublas_v2.h>

#include "matrices.cuh"

namespace jaxmg_baselines {
namespace {

using CublasHandle = Handle<cublasHandle_t, cublasDestroy>;

template <class T>
class Gemm {
 public:
  Gemm(int device, std::int64_t n, int repeats)
      : device_(device),
        n_(n),
        a_(device, n * n),
        b_(device, n * n),
        c_(device, n * n),
        handle_((select(device), cublasCreate)) {
    fill(device, a_.data(), n, n, a);
    fill(device, b_.data(), n, n, b);
    for (int i = 0; i <= repeats; ++i) marks_.emplace_back(create_event);
  }

  void enqueue() const {
    const T one = make_scalar<T>(1, 0), zero = make_scalar<T>(0, 0);
    const cudaDataType type = Traits<T>::data_type;
    const bool is_single = std::is_same_v<typename Traits<T>::Real, float>;
    select(device_);
    BASELINES_CUDA(cublasGemmEx_64(handle_, CUBLAS_OP_N, CUBLAS_OP_N, n_, n_, n_, &one, a_.data(),
                                   type, n_, b_.data(), type, n_, &zero, c_.data(), type, n_,
                                   is_single ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_64F,
                                   CUBLAS_GEMM_DEFAULT));
  }

  void mark(int i) const {
    select(device_);
    BASELINES_CUDA(cudaEventRecord(marks_[static_cast<std::size_t>(i)]));
  }

  /// Seconds from mark i to the next.
  double seconds(int i) const {
    float milliseconds = 0;
    BASELINES_CUDA(cudaEventElapsedTime(&milliseconds, marks_[static_cast<std::size_t>(i)],
                                        marks_[static_cast<std::size_t>(i) + 1]));
    return 1e-3 * static_cast<double>(milliseconds);
  }

  /// ||C v - A (B v)|| / (n eps ||A|| ||B|| ||v||) for a random v.
  double residual() const {
    const std::vector<Wide> v = random_vector<T>(n_, 3);
    select(device_);
    const Product b_v = multiply(device_, b, v);
    const Product a_b_v = multiply(device_, a, b_v.y);
    const Product c_v = multiply(device_, Stored<T>{c_.data(), n_}, v);
    const double scale = static_cast<double>(n_) * epsilon<T>() * a_b_v.norm * b_v.norm * norm(v);
    return norm(difference(c_v.y, a_b_v.y)) / scale;
  }

 private:
  static constexpr Random<T> a{1}, b{2};
  static cudaError_t create_event(cudaEvent_t* event) { return cudaEventCreate(event); }

  int device_;
  std::int64_t n_;
  Buffer<T> a_, b_, c_;
  CublasHandle handle_;
  std::vector<Event> marks_;
};

template <class T>
Measurement run(const Case& c) {
  std::vector<Gemm<T>> every;
  every.reserve(c.devices.size());
  for (const int device : c.devices) every.emplace_back(device, c.n, c.repeats);

  const auto n = static_cast<double>(c.n);
  const double flops = operations<T>(2 * n * n * n);
  Stage stage{"gemm", {}, {}};
  for (int i = 0; i < c.warmups; ++i) {
    stage.add(true, seconds_of(c.devices, [&] {
                for (const Gemm<T>& gemm : every) gemm.enqueue();
              }));
  }
  // All runs at once, so that no device waits for the host or for another device.
  synchronize(c.devices);
  for (const Gemm<T>& gemm : every) gemm.mark(0);
  for (int i = 0; i < c.repeats; ++i) {
    for (const Gemm<T>& gemm : every) {
      gemm.enqueue();
      gemm.mark(i + 1);
    }
  }
  synchronize(c.devices);

  Measurement result;
  result.flops = flops * static_cast<double>(c.devices.size());
  for (int i = 0; i < c.repeats; ++i) {
    double slowest = 0;
    for (const Gemm<T>& gemm : every) slowest = std::max(slowest, gemm.seconds(i));
    stage.add(false, slowest);
  }
  std::vector<double> residuals;
  for (const Gemm<T>& gemm : every) {
    double total = 0;
    for (int i = 0; i < c.repeats; ++i) total += gemm.seconds(i);
    result.device_gflops.push_back(flops * c.repeats / total * 1e-9);
    if (c.check) residuals.push_back(gemm.residual());
  }
  if (c.check) result.residual = largest(residuals);
  result.stages = {stage};
  return result;
}

}  // namespace

Measurement gemm(const Case& c) {
  return visit(c.dtype, [&]<class T>() { return run<T>(c); });
}

}  // namespace jaxmg_baselines
