// How GPU ranks reach each other across the processes of a host.
//
// Events. Each process has a board of words (board.hpp). After recording a post's event its queue
// writes the next number into the queue's word, and the post's message says which. To wait for a
// post of another process is to wait for the number, which streams do by themselves.
//
// Data. A rank reads from another process's GPU through that GPU's station (station.hpp): it sends
// a request, and the other process's thread enqueues, on a stream for just this pair of GPUs,
// copies of the pieces into slots of the station, each followed by a number in the slot's word
// `ready`. Then it says so, and the reader enqueues for each piece: wait for `ready`, copy the
// piece from the slot, write the slot's word `free`. A copy into a slot waits for what was there to
// be read. Before its first copy the stream waits for all posts that the reader had taken: so it
// copies what the reader's queue would have read at that place.
//
// Why nothing can block for ever: **nothing is enqueued that waits for what has not been enqueued
// yet**, on any GPU. A post's message is sent when its number's writing is enqueued; requests name
// posts only that the reader has taken; the reader waits, on the host, until the copy into the slot
// is enqueued; and a copy into a slot in use is enqueued once its reader has said that reading it
// is. So work that is waited for is older than what waits, however the driver maps streams to the
// GPU's hardware queues, of which there are few: there, one stream's wait holds up others, and a
// wait for younger work could hold up that very work. For the same reason queues drain by
// themselves after a failure, all posts being numbers that will be written; only where a process
// has ended, or lost its GPU, others, or it, set all words of its board.
//
// All that is for processes that share memory. Between hosts a process has a copy of another's
// board, which relay.hpp keeps true, and data goes through passages (passages.hpp), by NCCL; so it
// does on one host between GPUs that cannot read each other's station.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "device/cuda/queue.hpp"
#include "team/cuda/board.hpp"
#include "team/cuda/passages.hpp"
#include "team/cuda/relay.hpp"
#include "team/cuda/station.hpp"
#include "team/processes/link.hpp"
#include "team/rank.hpp"
#include "team/read_pieces.hpp"

namespace jaxmg::cuda {

/// How processes reach each other's GPUs: by stations and boards where they can, and else by NCCL
/// and messages; or always by the one or the other.
enum class Sharing { automatic, peer, nccl };

/// What JAXMG_TEAM says. Throws InvalidArgument.
Sharing chosen_sharing();

class DeviceLink final : public processes::Link {
 public:
  /// For Exchange; `others`: GPUs of the job that are not this process's, between which a station
  /// is divided.
  static processes::MakeLink make(int others, Sharing sharing);
  DeviceLink(const processes::Identity& identity, processes::Courier& courier, int others,
             Sharing sharing);

  /// The place of a GPU of this process, whose station the others have then been told of. Allocates
  /// it on the first call; by a thread that may wait.
  int open(int ordinal);

  /// Whether the GPU at `place` can read from `source`, and, where both certainly need that, the
  /// other way round. Not yet: what is missing is under way. Throws DeviceError if it never can.
  bool connect(int place, const processes::RankPlace& source);

  /// Has `lane` write its next number, which `others` may wait for: what it has been given so far
  /// is done when that is there.
  Mark mark(const Lane& lane, const std::vector<int>& others);
  /// The event of another process's post.
  Event event_of(const Mark& mark);
  /// Enqueues a copy from the memory of another process's GPU to that of the GPU at `place`, which
  /// is current, on `queue`. `taken`: the posts since the last such request. Waits for that
  /// process's thread; throws DeviceError if it has failed or ended.
  void read(int place, const processes::RankPlace& source, const std::vector<Mark>& taken,
            Queue& queue, const ByteColumns<const std::byte>& theirs,
            const ByteColumns<std::byte>& mine);
  /// This process cannot use a GPU any more: nobody may wait for it.
  void give_up();
  /// Thread. Nothing more will come from another process's GPUs, nor get there.
  void give_up_on(int process, const std::string& why);
  /// Not 0, for GPUs, once a process has ended or given up.
  const std::int32_t* gone_flag(int process);
  /// A call that has returned, its work being under way until `end`.
  struct Returned {
    std::string text;
    std::vector<processes::RankPlace> ranks;
    Event end;
  };
  /// Should one of its processes end before that, it is named on stderr.
  void watch(Returned call);

  std::shared_ptr<processes::Member> make_team(const processes::CallName& name, int size) override;
  std::vector<std::pair<processes::Message, processes::Descriptor>> greet(
      int process, processes::Reach reach) override;
  bool welcome(int process, processes::Reach reach, const processes::Message& hello,
               const processes::Descriptor& passed) override;
  void handle(int process, processes::Incoming& incoming) override;
  bool work() override;
  std::optional<std::chrono::steady_clock::time_point> next_look() override;
  std::chrono::microseconds alertness() const override { return std::chrono::microseconds(200); }
  void lose(int process) override;

 private:
  using Clock = std::chrono::steady_clock;

  /// What another process's GPU passes to one of ours.
  struct Inlet {
    std::mutex reading;  // one rank at a time
    std::uint64_t next = 0;
    bool needs_passage = false;
    std::byte* slots = nullptr;
    index_t slot_bytes = 0;
    std::atomic<std::uint64_t> served{0};
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t offset = 0;  // of its slots in the station
    std::string failure;

    void wait_for(std::uint64_t pieces);
    void fail(const std::string& why);
  };
  /// What one of our GPUs passes to another process's. Of the exchange's thread alone.
  struct Outlet {
    cudaStream_t stream = nullptr;
    std::byte* slots = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t next = 0;      // pieces whose copying is enqueued
    std::uint64_t consumed = 0;  // pieces whose reading is
    std::deque<std::pair<processes::Message, std::vector<Mark>>> requests;
    index_t done = 0;  // pieces of the first request
    bool begun = false;
    std::string failure;
  };
  using Pair = std::tuple<int, int, int>;  // a place of ours, a process, a place of its

  struct Peer {
    std::unique_ptr<Board> board;
    bool is_apart = false;  // it shares no memory: the board is a copy
    struct Seen {
      std::unique_ptr<PeerStation> station;
      index_t slot_bytes;
    };
    std::map<int, Seen> stations;  // by place
    bool lost = false;
    std::string why_lost;
  };
  /// One of our GPUs.
  struct Own {
    int ordinal;
    std::unique_ptr<Station> station;  // none where nobody can or shall read from it
  };

  const Board& board_of(int process) const;
  Passages::Surroundings surroundings();
  std::unique_ptr<Station> new_station(int ordinal) const;
  void report_returned(int process, const std::string& why) const;
  processes::Message station_at(int place) const;
  Inlet& inlet(int place, const processes::RankPlace& source);
  void read_station(int place, const processes::RankPlace& source, const std::vector<Mark>& taken,
                    Queue& queue, const ByteColumns<const std::byte>& theirs,
                    const ByteColumns<std::byte>& mine);
  void prepare(const Pair& pair, Outlet& asked);
  void consume(Inlet& from, int place, const processes::RankPlace& source, std::uint64_t piece,
               const ReadPiece& part, Queue& queue, const ByteColumns<std::byte>& mine,
               bool copies);
  void serve(const Pair& pair, Outlet& asked);
  void enqueue_pieces(const Pair& pair, Outlet& asked);
  int word(Board::Side side, int place, int process, int their_place, std::uint64_t piece) const;

  const processes::Identity identity_;
  processes::Courier& courier_;
  const int others_;
  const Sharing sharing_;
  const index_t slot_bytes_;
  std::pair<std::unique_ptr<Board>, processes::Descriptor> created_;
  const Board* const board_;  // this process's
  Relay relay_;
  Passages passages_;

  mutable std::mutex mutex_;
  std::vector<Peer> peers_;  // by process
  std::vector<Own> own_;     // by place
  std::map<const Lane*, Mark> lanes_;
  std::map<Pair, std::unique_ptr<Inlet>> inlets_;
  std::vector<Returned> returned_;

  // Of the exchange's thread:
  std::map<Pair, Outlet> outlets_;
  bool held_ = false;  // something, since a GPU reads
  Clock::time_point next_release_{};
};

}  // namespace jaxmg::cuda
