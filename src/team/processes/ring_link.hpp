// How CPU ranks reach each other's data across processes: through rings of shared memory, and
// between hosts in messages.
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

/// For each ordered pair of processes of a host a ring of shared memory, through which the first
/// answers the second's requests for data: ring_slots pieces of slot_bytes at a time, 1 MiB in all.
/// The memory has no name. The exchange's thread copies pieces into and out of rings. Between hosts
/// a piece comes with its message, and as many as a ring has slots are on their way at once.
class RingLink final : public Link, private Fetcher {
 public:
  static constexpr int ring_slots = 4;
  static constexpr std::size_t slot_bytes = longest_data;
  static constexpr std::size_t ring_bytes = ring_slots * slot_bytes;

  static std::unique_ptr<Link> make(const Identity& identity, Courier& courier);
  RingLink(const Identity& identity, Courier& courier);

  std::shared_ptr<Member> make_team(const CallName& name, int size) override;
  std::vector<std::pair<Message, Descriptor>> greet(int process, Reach reach) override;
  bool welcome(int process, Reach reach, const Message& hello, const Descriptor& passed) override;
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
    SharedMemory out_ring;  // none between hosts
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
  const std::byte* packed_at(int process, const Message& chunk, const std::string& bytes);
  void take_chunk(int process, const Message& chunk, const std::string& bytes);
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
