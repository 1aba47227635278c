// How CPU ranks reach each other's data across processes: through rings of shared memory.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "team/processes/process_team.hpp"
#include "team/processes/shared_memory.hpp"

namespace jaxmg::processes {

/// For each ordered pair of processes a ring of shared memory, through which the first answers the
/// second's requests for data: ring_slots pieces of slot_bytes at a time, 1 MiB in all. The memory
/// has no name. The exchange's thread copies pieces into and out of rings.
class RingLink final : public Link, private Fetcher {
 public:
  static constexpr int ring_slots = 4;
  static constexpr std::size_t slot_bytes = std::size_t{1} << 18;
  static constexpr std::size_t ring_bytes = ring_slots * slot_bytes;

  static std::unique_ptr<Link> make(const Identity& identity, Courier& courier);
  RingLink(const Identity& identity, Courier& courier);

  std::shared_ptr<Member> make_team(const CallName& name, int size) override;
  std::vector<std::pair<Message, Descriptor>> greet(int process) override;
  bool welcome(int process, const Message& hello, const Descriptor& passed) override;
  void handle(int process, Incoming& incoming) override;
  bool work() override;
  void lose(int process) override;

 private:
  /// A request of a peer, and how much of it has been answered.
  struct Answer {
    Message request;
    index_t done = 0;
  };
  struct Peer {
    SharedMemory out_ring;
    bool lost = false;
    // Of the thread alone:
    SharedMemory in_ring;
    std::array<bool, ring_slots> busy{};
    std::deque<Answer> answers;
  };
  /// A request of ours.
  struct Fetch {
    int process;
    Message request;
    ByteColumns<std::byte> mine;
    cpu::Latch done;
    index_t missing;
  };

  void fetch(int process, const Message& request, const ByteColumns<std::byte>& mine,
             const cpu::Latch& done) override;
  void take_chunk(int process, const Message& message, const std::string& bytes);
  bool answer_one_piece(int process);
  Peer& peer(int process) { return peers_[static_cast<std::size_t>(process)]; }

  const Identity identity_;
  Courier& courier_;

  std::mutex mutex_;
  std::vector<Peer> peers_;  // by process
  std::map<std::uint64_t, Fetch> fetches_;
  std::uint64_t next_request_ = 1;
};

}  // namespace jaxmg::processes
