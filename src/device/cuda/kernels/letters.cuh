// Letters: what a warp tells a warp of another block by way of global memory, in one trip.
//
// A letter's words, half of them data, each carry the letter's number: a reader needs no flag
// beside, and the writer no fence (as in NCCL's protocol for low latency).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "device/cuda/kernels/builtins.cuh"
#include "device/cuda/kernels/warp.cuh"

namespace jaxmg::cuda {

/// `count` elements as letter `number`.
template <class D>
void write_letter(std::uint64_t* letter, unsigned number, const D* from, int count) {
  const char* const bytes = reinterpret_cast<const char*>(from);
  for (int k = lane_index(); k < letter_words<D>(count); k += warp_size) {
    unsigned data = 0;
    std::memcpy(&data, bytes + k * sizeof(data), sizeof(data));
    store_relaxed(letter + k, static_cast<std::uint64_t>(number) << 32 | data);
  }
  __syncwarp();
}

/// Waits for letter `number`, of up to `most` elements.
template <int most, class D>
void read_letter(const std::uint64_t* letter, unsigned number, D* to, int count) {
  constexpr int most_words = (letter_words<D>(most) + warp_size - 1) / warp_size;
  std::uint64_t words[most_words];
  const int end = letter_words<D>(count), first = lane_index();
  for (bool whole = false; !whole;) {  // all words of a lane are on their way at a time
#pragma unroll
    for (int i = 0; i < most_words; ++i) {
      const int k = first + i * warp_size;
      words[i] = load_relaxed(letter + std::min(k, end - 1));
    }
    whole = true;
#pragma unroll
    for (int i = 0; i < most_words; ++i) whole = whole && words[i] >> 32 == number;
    if (!whole) pause();
  }
  char* const bytes = reinterpret_cast<char*>(to);
#pragma unroll
  for (int i = 0; i < most_words; ++i) {
    const int k = first + i * warp_size;
    const auto data = static_cast<unsigned>(words[i]);
    if (k < end) std::memcpy(bytes + k * sizeof(data), &data, sizeof(data));
  }
  __syncwarp();
}

}  // namespace jaxmg::cuda
