#include <complex>
#include <vector>

#include <gtest/gtest.h>

#include "api/arena.hpp"

namespace jaxmg {
namespace {

struct Carved {
  char* bytes;
  double* empty;
  MatrixView<std::complex<double>> matrix;
  std::int32_t* scalar;
};

Carved carve(Arena& arena) {
  return {arena.take<char>(3), arena.take<double>(0), arena.take_matrix<std::complex<double>>(5, 7),
          arena.take<std::int32_t>(1)};
}

std::size_t counted() {
  Arena arena;
  carve(arena);
  return arena.bytes();
}

TEST(Arena, CountingGivesNothing) {
  Arena arena;
  const Carved carved = carve(arena);
  EXPECT_EQ(carved.bytes, nullptr);
  EXPECT_EQ(carved.matrix.data, nullptr);
  EXPECT_EQ(carved.matrix.rows, 5);
  EXPECT_EQ(carved.matrix.cols, 7);
  EXPECT_EQ(carved.matrix.ld, 5);
}

TEST(Arena, WhatWasCountedSufficesWhereverTheBlockStarts) {
  const std::size_t bytes = counted();
  for (std::size_t shift = 0; shift < 2 * Arena::alignment; ++shift) {
    std::vector<std::byte> block(bytes + shift);
    std::byte* const begin = block.data() + shift;
    Arena arena(begin);
    const Carved carved = carve(arena);
    const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    for (const void* p :
         {static_cast<const void*>(carved.bytes), static_cast<const void*>(carved.matrix.data),
          static_cast<const void*>(carved.scalar)}) {
      EXPECT_EQ(address(p) % Arena::alignment, 0u);
    }
    EXPECT_GE(address(carved.bytes), address(begin));
    EXPECT_GE(address(carved.matrix.data), address(carved.bytes) + 3);
    EXPECT_GE(address(carved.scalar), address(carved.matrix.data + 35));
    EXPECT_LE(address(carved.scalar + 1), address(begin) + bytes);
    EXPECT_LE(arena.bytes(), bytes);
  }
}

}  // namespace
}  // namespace jaxmg
