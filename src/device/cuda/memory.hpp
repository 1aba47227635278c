// Memory of a GPU for shards and workspaces.
#pragma once

#include <cstddef>
#include <memory>

namespace jaxmg::cuda {

/// `bytes` zeroed bytes on a GPU, ready for any stream; null for 0. Throws OutOfMemory.
std::shared_ptr<void> allocate(int ordinal, std::size_t bytes);

/// Whether work on the GPU may use what is at `data`: its own or managed memory. Null may be used.
bool is_memory_of(int ordinal, const void* data);

}  // namespace jaxmg::cuda
