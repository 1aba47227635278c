// What Python calls by ctypes: whether cuSOLVERMg is there, and hooks for tests.
#include <cstdint>
#include <exception>
#include <string>

#include "cuda/fault.hpp"
#include "cuda/seat.hpp"
#include "device/cuda/chaos.hpp"
#include "engines/cusolvermg/library.hpp"
#include "job.hpp"

extern "C" {

/// Null, or why cuSOLVERMg cannot be loaded, until this thread's next call.
const char* jaxmg_load_cusolvermg() {
  thread_local std::string reason;
  try {
    jaxmg::cusolvermg::library();
    return nullptr;
  } catch (const std::exception& error) {
    reason = error.what();
    return reason.c_str();
  }
}

/// Whom to ask about the job that this process belongs to; see ffi/job.hpp.
void jaxmg_set_cuda_job(void (*ask)(jaxmg::ffi::JobAnswer*)) { jaxmg::ffi::set_job(ask); }

/// For tests: from now on each wait, record and copy of the GPUs' queues comes after a random delay
/// of up to `max_delay_us`. Seed 0 switches it off.
void jaxmg_set_cuda_chaos(std::uint32_t seed, std::uint32_t max_delay_us) {
  jaxmg::cuda::set_chaos(seed, max_delay_us);
}

/// For tests: what goes wrong with rank `rank` of the next call; `fault` as in jaxmg::ffi::Fault.
void jaxmg_inject_cuda_fault(std::int32_t rank, std::int32_t fault, std::int32_t after) {
  jaxmg::ffi::inject_fault(rank, static_cast<jaxmg::ffi::Fault>(fault), after);
}

/// For tests: makes the calls that have run mistake each GPU, or each group, for its neighbour.
void jaxmg_swap_cuda_seats(std::int32_t groups) { jaxmg::ffi::swap_seats(groups != 0); }

}  // extern "C"
