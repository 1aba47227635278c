// In CUDA's place: a stream is a CPU queue.
#pragma once

#include "device/cpu/queue.hpp"

using cudaStream_t = jaxmg::cpu::Queue*;
