#include "device/cuda/chaos.hpp"

#include <mutex>
#include <random>

#include "device/cuda/kernels.hpp"

namespace jaxmg::cuda {
namespace {

std::mutex mutex;
std::mt19937 random_numbers;
unsigned longest_us = 0;

}  // namespace

void set_chaos(unsigned seed, unsigned max_delay_us) {
  std::unique_lock lock(mutex);
  random_numbers.seed(seed);
  longest_us = max_delay_us;
  detail::chaos_is_on = seed != 0;
}

void detail::delay_at_random(cudaStream_t stream) {
  unsigned delay_us = 0;
  {
    std::unique_lock lock(mutex);
    delay_us = static_cast<unsigned>(random_numbers()) % (longest_us + 1);
  }
  launch_spin(stream, delay_us);
}

}  // namespace jaxmg::cuda
