// How data gets from GPU to GPU where processes share no memory: between hosts, or where GPUs of
// one host do not reach each other.
//
// For each ordered pair of GPUs there is a passage, with an end (passage_end.hpp) in both
// processes, made before the first call that needs it. A rank reads as through a station: it sends
// a request, and the other process's thread sends the pieces, one after the other, from the
// passage's stream there, which waits for all posts that the reader had taken. Each piece's
// receiving is enqueued by the thread of the reader's process, on the passage's stream here, which
// waits for the reader's queue, and goes straight to where it is wanted. The reader waits, on the
// host, until the last piece's receiving is enqueued; its queue then waits for the stream.
//
// Why nothing can block for ever. A transfer has two halves, kernels of NCCL that occupy their GPUs
// until both run: so its send is enqueued while it waits for a receive that is not, and whatever
// shares a hardware queue with what comes behind it (NCCL has streams of its own wait for it) is
// held up. Else the rule is that of device_link.hpp: nothing is enqueued that waits for what has
// not been enqueued yet. Counting a transfer as old as its send, it is enough that
//  * the reader's GPU is given nothing between the send and its receive: so the receive stands
//    behind what is older than the send, whatever streams share a queue;
//  * what waits for the transfer is enqueued after its receive.
// Then all work waits only for older work, and the oldest that is not done can always be done. The
// second holds since the reader's rank waits for the receive. So does the first, for nobody else
// gives that GPU what waits for other processes (JAX's thread for it is the rank's), except the
// thread of its process, which serves others there, and must not do so meanwhile. So a request
// takes its turn (turn.hpp) at both GPUs, each of which serves or reads one request at a time, and
// gives it back when all its receives are enqueued. A request asks for the lower of the two GPUs
// first, by process and place, and for the other one when it has that: so no requests wait for each
// other in a ring.
//
// What a read costs before its data moves: one message and its answer where the reader's GPU is the
// lower one, else two, some 100 or 200 us; it is the host that waits, and GPUs only if they have
// nothing else to do. A piece's is one, hidden by the piece before.
//
// Connecting allocates memory, which waits for GPUs on some systems: a rank enqueues nothing of a
// call before all of its passages are connected, in both directions.
//
// Where NCCL fails, or a process ends, communicators are aborted: what has been enqueued runs to
// its end, the words of that process are set, as a lost process's are, and results are filled with
// NaN.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "team/cuda/mark.hpp"
#include "team/cuda/passage_end.hpp"
#include "team/cuda/turn.hpp"
#include "team/processes/link.hpp"
#include "team/rank.hpp"
#include "team/read_pieces.hpp"

namespace jaxmg::cuda {

class Passages {
 public:
  using Clock = std::chrono::steady_clock;
  using Role = PassageEnd::Role;

  /// What there is outside, for tests to put something else there.
  struct Surroundings {
    std::function<std::string()> new_name;
    std::function<std::shared_ptr<PassageEnd>(int place, Role, const std::string& name)> make_end;
    std::function<const Words&(int process)> words_of;
    /// Thread. Nothing more will come from a process, nor get there.
    std::function<void(int process, const std::string& why)> give_up_on;
  };

  Passages(int process, processes::Courier& courier, Surroundings surroundings)
      : process_(process), courier_(courier), outside_(std::move(surroundings)) {}

  // ---- By ranks ---------------------------------------------------------------------------------

  /// Begins to connect the GPU at `place` with another one, unless that has been done. Returns
  /// whether it is connected in both directions, if `both`, or to read. Throws DeviceError if it
  /// cannot be.
  bool connect(int place, const processes::RankPlace& other, bool both);
  /// As DeviceLink::read(), `queue` being a stream of the GPU at `place`.
  void read(int place, const processes::RankPlace& source, const std::vector<Mark>& taken,
            cudaStream_t queue, const ByteColumns<const std::byte>& theirs,
            const ByteColumns<std::byte>& mine);

  // ---- By the exchange's thread -----------------------------------------------------------------

  void handle(int process, const processes::Incoming& incoming);
  void work();
  /// Held while our GPU at `place` is given something else; not held where it may be given nothing,
  /// since it reads.
  [[nodiscard]] std::unique_lock<std::mutex> hold(int place);
  /// When to come back at the latest.
  std::optional<Clock::time_point> next_look() const { return next_look_; }
  void lose(int process, const std::string& why);

 private:
  using Pair = std::tuple<int, int, int>;  // a place of ours, a process, a place of its
  /// A request, at one of our GPUs.
  struct Visitor {
    Pair pair;
    Role role;  // of our GPU
    bool operator==(const Visitor&) const = default;
  };

  /// What one of our GPUs reads.
  struct Inlet {
    std::shared_ptr<PassageEnd> end;
    std::mutex reading;  // one rank at a time
    // With Passages::mutex_:
    processes::Message request;  // the one under way
    std::vector<Mark> taken;
    ByteColumns<std::byte> mine{};
    std::optional<ReadPieces> pieces;
    index_t done = 0;  // of them, enqueued
  };
  /// What one of our GPUs sends.
  struct Outlet {
    std::shared_ptr<PassageEnd> end;
    std::optional<processes::Message> request;  // the one under way
    std::vector<Mark> taken;                    // not waited for yet
    index_t done = 0;                           // pieces, enqueued
    bool has_turns = false;                     // at both GPUs
    bool is_sending = false;                    // a receive is not known to be enqueued
  };

  // With the lock:
  Inlet& inlet(const Pair& pair);
  bool reads_first(const Pair& pair, Role role) const;
  void ask(const Visitor& visitor);
  void give_back(const Visitor& visitor);
  void has_turn(const Visitor& visitor);
  void send_request(const Pair& pair);
  void take_request(const Pair& pair, const processes::Incoming& incoming);
  void receive_piece(const Pair& pair);
  void send_piece(const Pair& pair, Outlet& outlet);
  void is_received(const Pair& pair);
  void tell(const Pair& pair, processes::Message message, const std::string& text = {});

  void check_all();
  void fail(int process, const std::string& why);

  const int process_;
  processes::Courier& courier_;
  const Surroundings outside_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Pair, std::unique_ptr<Inlet>> inlets_;
  std::map<Pair, Outlet> outlets_;
  std::map<int, Turn<Visitor>> turns_;  // by place
  std::map<int, std::string> lost_;     // processes, and why

  // Of the exchange's thread:
  Clock::time_point checked_{};
  std::optional<Clock::time_point> next_look_;
};

}  // namespace jaxmg::cuda
