#include "distribution/permutation_cycles.hpp"

#include <algorithm>
#include <numeric>

namespace jaxmg {
namespace {

/// Column positions in units of the widest chunk that both layouts keep whole.
class ChunkPermutation {
 public:
  explicit ChunkPermutation(const BlockCyclic& layout)
      : layout_(layout), width_(std::gcd(layout.tile(), layout.local_columns())) {}

  index_t width() const { return width_; }
  index_t count() const { return width_ == 0 ? 0 : layout_.columns() / width_; }
  index_t per_rank() const { return layout_.local_columns() / width_; }

  index_t destination(index_t chunk) const {
    const ColumnPlace place = layout_.cyclic_place(chunk * width_);
    return place.rank * per_rank() + place.local / width_;
  }

 private:
  BlockCyclic layout_;
  index_t width_;
};

std::vector<index_t> orbit(const ChunkPermutation& permutation, index_t start) {
  std::vector<index_t> slots;
  index_t at = start;
  do {
    slots.push_back(at);
    at = permutation.destination(at);
  } while (at != start);
  return slots;
}

/// Whether the ring that lies `shift` chunks to the right of `slots` turns in step with it.
bool travels_along(const ChunkPermutation& permutation, const std::vector<index_t>& slots,
                   index_t shift, const std::vector<bool>& seen) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const index_t here = slots[i] + shift;
    const index_t next = slots[(i + 1) % slots.size()] + shift;
    if (here >= permutation.count() || seen[static_cast<std::size_t>(here)] ||
        here / permutation.per_rank() != slots[i] / permutation.per_rank() ||
        permutation.destination(here) != next) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::vector<Cycle> block_to_cyclic_cycles(const BlockCyclic& layout) {
  const ChunkPermutation permutation(layout);
  const index_t widest = permutation.count() == 0 ? 0 : layout.tile() / permutation.width();
  std::vector<bool> seen(static_cast<std::size_t>(permutation.count()), false);
  std::vector<Cycle> cycles;
  for (index_t start = 0; start < permutation.count(); ++start) {
    if (seen[static_cast<std::size_t>(start)]) continue;
    std::vector<index_t> slots = orbit(permutation, start);
    index_t together = 0;
    do {
      for (const index_t slot : slots) seen[static_cast<std::size_t>(slot + together)] = true;
      ++together;
    } while (together < widest && travels_along(permutation, slots, together, seen));
    if (slots.size() == 1) continue;
    for (index_t& slot : slots) slot *= permutation.width();
    cycles.push_back({together * permutation.width(), std::move(slots)});
  }
  return cycles;
}

std::vector<Cycle> cyclic_to_block_cycles(const BlockCyclic& layout) {
  std::vector<Cycle> cycles = block_to_cyclic_cycles(layout);
  for (Cycle& cycle : cycles) std::reverse(cycle.slots.begin(), cycle.slots.end());
  return cycles;
}

}  // namespace jaxmg
