// A passage's end by NCCL.
#pragma once

#include <memory>
#include <mutex>

#include "team/cuda/nccl.hpp"
#include "team/cuda/passage_end.hpp"

namespace jaxmg::cuda {

/// A communicator of two, for data in one direction: NCCL runs what one communicator is given on a
/// GPU in order, so a send and a receive that wait for different partners need one each. It has a
/// buffer of piece_bytes, outside JAX's pool, where pieces lie packed. Never destroyed.
class NcclEnd final : public PassageEnd, public std::enable_shared_from_this<NcclEnd> {
 public:
  /// A name for two ends, which the other process must get. Throws DeviceError.
  static std::string new_name();
  /// Begins to connect, on a thread of its own, since the two ends wait for each other there. The
  /// first data is sent then, too: with it NCCL makes its connection.
  static std::shared_ptr<PassageEnd> make(int ordinal, Role role, const std::string& name);

  NcclEnd(int ordinal, Role role) : ordinal_(ordinal), role_(role) {}

  State state() override;
  std::string failure() override;
  void check() override;
  void abort() override;
  void wait_for(const Words& words, int word, std::uint64_t value) override;
  void follow(cudaStream_t queue) override;
  void lead(cudaStream_t queue) override;
  void send(const std::byte* columns, index_t stride, const ReadPiece& piece) override;
  void receive(std::byte* columns, index_t stride, const ReadPiece& piece) override;

 private:
  void connect(const nccl::UniqueId& name);
  void transfer(std::size_t bytes);
  nccl::Communicator communicator();

  const int ordinal_;
  const Role role_;
  cudaStream_t stream_ = nullptr;
  std::byte* buffer_ = nullptr;

  std::mutex mutex_;
  State state_ = State::connecting;
  std::string failure_;
  nccl::Communicator communicator_ = nullptr;
};

}  // namespace jaxmg::cuda
