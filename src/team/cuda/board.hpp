// Numbers by which GPUs of several processes wait for each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "device/cuda/device.hpp"
#include "team/processes/shared_memory.hpp"

namespace jaxmg::cuda {

/// Words of 64 bits in memory of the host, nameless, that all processes of a job share and all
/// their GPUs see. A process has one board, and only its own streams write there, each word from
/// one stream or in an order that events give: numbers that only grow. To wait for one is to wait
/// for a value; nothing has to be acknowledged, and one write serves any number of readers.
class Board final : public Words {
 public:
  /// Not 0 once the board has been released.
  static constexpr int gone = 0;
  /// What words are for, besides lanes from 1 on: the pieces that pass between two devices.
  enum class Side { ready, free };

  static constexpr int most_lanes = 1024;
  static constexpr int most_places = 16;  ///< devices of a process
  static constexpr int slots = 8;         ///< pieces on their way from one device to another

  /// This process's, to be passed on by its descriptor.
  static std::pair<std::unique_ptr<Board>, processes::Descriptor> create(int processes);
  /// Another process's.
  Board(const processes::Descriptor& descriptor, int processes);
  static std::size_t bytes(int processes);

  /// The word of slot `slot` between this process's device `place` and another one's.
  static int word_of(Side side, int place, int process, int their_place, int processes, int slot);

  void make_wait(cudaStream_t stream, int word, std::uint64_t value) const override;
  /// `stream`, of this process, sets a word.
  void write(cudaStream_t stream, int word, std::uint64_t value) const;
  /// The half of word `gone` that is not 0 then, as GPUs address it.
  const std::int32_t* gone_flag() const;
  /// A word as it is now, and, of a copy of a board that this process does not see, as it is there.
  std::uint64_t value(int word) const;
  void set(int word, std::uint64_t value) const;
  /// Lets all go on who wait for any word, now or later: whose board it is writes no more.
  void release() const;

 private:
  explicit Board(processes::SharedMemory memory, int processes);
  bool has(int word) const { return word >= 0 && static_cast<std::size_t>(word) < words_; }
  std::atomic_ref<std::uint64_t> at(int word) const;
  std::uint64_t address(int word) const;

  processes::SharedMemory memory_;
  std::size_t words_;
  mutable std::once_flag registered_;
  mutable std::uint64_t base_ = 0;  // as GPUs address it
};

}  // namespace jaxmg::cuda
