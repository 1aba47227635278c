// Buffers used in turn: one to work with while the next one is filled.
#pragma once

#include <array>

#include "device/contract.hpp"

namespace jaxmg {

/// One panel for the bulk to work with, and one to arrive.
inline constexpr int panel_slots = 2;

/// Storage for a panel in each slot.
template <Scalar T>
using PanelStorage = std::array<MatrixView<T>, panel_slots>;

/// Panels that are filled, mostly with peers' data, and read, in turn.
template <Backend B, Scalar T>
class PanelRing {
 public:
  using Event = typename B::Event;
  using Readers = std::array<Event, 3>;

  explicit PanelRing(const PanelStorage<T>& storage) : storage_(storage) {}

  /// Storage for panel k, of this shape. `writer` waits for those who read what is there now.
  MatrixView<T> acquire(index_t k, index_t rows, index_t cols, typename B::Queue& writer) {
    const auto slot = static_cast<std::size_t>(k % panel_slots);
    for (const Event& reader : readers_[slot]) writer.wait(reader);
    return storage_[slot].block(0, 0, rows, cols);
  }
  /// Panel k is free once these have happened.
  void release(index_t k, const Readers& readers) {
    readers_[static_cast<std::size_t>(k % panel_slots)] = readers;
  }

 private:
  PanelStorage<T> storage_;
  std::array<Readers, panel_slots> readers_;
};

}  // namespace jaxmg
