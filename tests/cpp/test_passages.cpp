// Data and words between processes that share no memory, on emulated GPUs.
#ifdef JAXMG_WITH_CUDA
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "jaxmg/error.hpp"
#include "team/cuda/nccl.hpp"
#include "team/cuda/passages.hpp"
#include "team/cuda/relay.hpp"

namespace jaxmg {
namespace {

using cuda::Board;
using cuda::Mark;
using cuda::PassageEnd;
using cuda::Passages;
using cuda::Relay;
using cuda::Turn;
using processes::Kind;
using processes::Message;
using namespace std::chrono_literals;

// ---- Emulated GPUs ------------------------------------------------------------------------------

/// With as many hardware queues as streams; or the worst GPU there could be, of one queue: what is
/// at its front holds up everything behind it until its stream's earlier work is done and it may
/// start.
class Gpu {
 public:
  enum class Queues { one, many };
  struct Item {
    int stream;
    std::function<bool()> may_start;
    std::function<void()> start;
    std::function<bool()> is_done;
  };

  explicit Gpu(Queues queues) : queues_(queues), thread_([this] { run(); }) {}
  ~Gpu() {
    ends_ = true;
    thread_.join();
  }

  int new_stream() { return ++streams_; }
  void enqueue(Item item) {
    const std::unique_lock lock(mutex_);
    queue_.push_back(std::move(item));
    ++pending_;
  }
  /// Takes some time, and is done then.
  void work(int stream, std::chrono::microseconds time, std::function<void()> work) {
    const auto end = std::make_shared<std::chrono::steady_clock::time_point>();
    enqueue({stream, [] { return true; }, [=] { *end = std::chrono::steady_clock::now() + time; },
             [=, work = std::move(work)] {
               if (std::chrono::steady_clock::now() < *end) return false;
               work();
               return true;
             }});
  }
  /// Is done as soon as it starts.
  void enqueue(int stream, std::function<void()> work) {
    enqueue({stream, [] { return true; }, std::move(work), [] { return true; }});
  }
  void wait(int stream, std::function<bool()> condition) {
    enqueue({stream, std::move(condition), [] {}, [] { return true; }});
  }
  bool is_idle() const { return pending_ == 0; }

 private:
  void run() {
    while (!ends_) {
      {
        const std::unique_lock lock(mutex_);
        for (auto item = running_.begin(); item != running_.end();) {
          const bool done = item->is_done();
          pending_ -= done ? 1 : 0;
          item = done ? running_.erase(item) : std::next(item);
        }
        if (start_one()) continue;
      }
      std::this_thread::sleep_for(20us);
    }
  }
  bool start_one() {
    std::set<int> streams;
    for (auto item = queue_.begin(); item != queue_.end(); ++item) {
      if (streams.insert(item->stream).second && may_start(*item)) {
        item->start();
        running_.push_back(std::move(*item));
        queue_.erase(item);
        return true;
      }
      if (queues_ == Queues::one) return false;
    }
    return false;
  }
  bool may_start(const Item& item) const {
    return std::none_of(running_.begin(), running_.end(),
                        [&](const Item& other) { return other.stream == item.stream; }) &&
           item.may_start();
  }

  const Queues queues_;
  std::mutex mutex_;
  std::deque<Item> queue_;
  std::vector<Item> running_;
  std::atomic<int> pending_{0};
  std::atomic<int> streams_{0};
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

/// What both ends of a passage know. The halves of a transfer run until both do.
struct Channel {
  std::mutex mutex;
  std::map<int, std::string> data;  // of transfers whose sending has started
  std::atomic<int> sends{0}, receives{0};
  std::atomic<bool> is_cut{false};
};

std::shared_ptr<Channel> channel(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Channel>> all;
  const std::unique_lock lock(mutex);
  auto known = all[name].lock();
  if (!known) all[name] = known = std::make_shared<Channel>();
  return known;
}

/// An end as NCCL would have it, which also makes a stream of its own wait for what it sends.
class EmulatedEnd final : public PassageEnd {
 public:
  EmulatedEnd(Gpu& gpu, const std::string& name)
      : gpu_(gpu), stream_(gpu.new_stream()), inner_(gpu.new_stream()), channel_(channel(name)) {}

  State state() override {
    if (channel_->is_cut) return State::failed;
    return ++looks_ < 3 ? State::connecting : State::ready;
  }
  std::string failure() override { return "cut"; }
  void check() override {
    if (channel_->is_cut) throw DeviceError("cut");
  }
  void abort() override { channel_->is_cut = true; }

  void wait_for(const cuda::Words& words, int word, std::uint64_t value) override {
    const auto& board = dynamic_cast<const Board&>(words);
    gpu_.wait(stream_, [&board, word, value] { return board.value(word) >= value; });
  }
  void follow(cudaStream_t queue) override { order(number_of(queue), stream_); }
  void lead(cudaStream_t queue) override { order(stream_, number_of(queue)); }

  void send(const std::byte* columns, index_t stride, const ReadPiece& piece) override {
    const int number = begun_++;
    gpu_.enqueue({stream_, [] { return true; },
                  [=, this] {
                    std::string packed;
                    for (index_t j = 0; j < piece.columns; ++j) {
                      const std::byte* const column =
                          columns + (piece.column + j) * stride + piece.row;
                      packed.append(reinterpret_cast<const char*>(column),
                                    static_cast<std::size_t>(piece.height));
                    }
                    const std::unique_lock lock(channel_->mutex);
                    channel_->data[number] = std::move(packed);
                    ++channel_->sends;
                  },
                  [=, this] { return channel_->receives > number || channel_->is_cut; }});
    gpu_.wait(inner_, [=, this] { return channel_->receives > number || channel_->is_cut; });
  }

  void receive(std::byte* columns, index_t stride, const ReadPiece& piece) override {
    const int number = begun_++;
    gpu_.enqueue({stream_, [] { return true; }, [this] { ++channel_->receives; },
                  [=, this] { return channel_->sends > number || channel_->is_cut; }});
    gpu_.enqueue(stream_, [=, this] {
      const std::unique_lock lock(channel_->mutex);
      const std::string packed = channel_->data[number];
      channel_->data.erase(number);
      if (packed.size() != static_cast<std::size_t>(piece.height * piece.columns)) return;
      for (index_t j = 0; j < piece.columns; ++j) {
        std::memcpy(columns + (piece.column + j) * stride + piece.row,
                    packed.data() + j * piece.height, static_cast<std::size_t>(piece.height));
      }
    });
  }

  static cudaStream_t pointer_to(int stream) {
    return reinterpret_cast<cudaStream_t>(static_cast<std::intptr_t>(stream));
  }

 private:
  static int number_of(cudaStream_t stream) {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(stream));
  }
  void order(int first, int second) {
    const auto happened = std::make_shared<std::atomic<bool>>(false);
    gpu_.enqueue(first, [happened] { *happened = true; });
    gpu_.wait(second, [happened] { return happened->load(); });
  }

  Gpu& gpu_;
  const int stream_, inner_;
  const std::shared_ptr<Channel> channel_;
  std::atomic<int> looks_{0};
  int begun_ = 0;
};

// ---- Emulated processes -------------------------------------------------------------------------

constexpr int lane = 1;  // the word that a process's only queue writes

/// One of some, with one GPU. Messages take their time, and overtake those of other processes.
class Process final : public processes::Courier {
 public:
  Process(int number, int count, unsigned seed, Gpu::Queues queues)
      : number_(number),
        times_(seed * 300 + static_cast<unsigned>(number)),
        generator_(seed * 100 + static_cast<unsigned>(number)),
        board_(Board::create(count).first),
        gpu_(queues),
        relay_(*board_, number, *this),
        passages_(number, *this, surroundings()),
        queue_(gpu_.new_stream()),
        inbox_(static_cast<std::size_t>(count)) {
    for (int process = 0; process < count; ++process) {
      copies_.push_back(process == number ? nullptr : Board::create(count).first);
    }
  }
  ~Process() override { stop(); }

  void meet(std::vector<Process*> all) {
    all_ = std::move(all);
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    ends_ = true;
    if (thread_.joinable()) thread_.join();
  }

  void tell(int process, const Message& message, const std::string& text, int) override {
    all_[static_cast<std::size_t>(process)]->take(number_, message, text);
  }
  void tell_everybody(const Message&, const std::string&, int) override {}
  bool shares_host(int) override { return false; }

  // ---- By the rank ------------------------------------------------------------------------------

  void connect() {
    for (Process* other : all_) {
      if (other == this) continue;
      while (!passages_.connect(0, {other->number_, 0}, true)) std::this_thread::sleep_for(100us);
    }
  }

  /// `work` is done on the queue, and then the others are told where its result is.
  void post(int step, const std::byte* data, std::function<void()> work) {
    then(std::move(work));
    const Mark mark{number_, lane, ++posted_};
    gpu_.enqueue(queue_, [this, mark] { board_->set(mark.word, mark.value); });
    std::vector<int> others;
    for (const Process* other : all_) {
      if (other != this) others.push_back(other->number_);
    }
    relay_.promise(mark, others);
    Message message{Kind::post, number_};
    message.tag = step;
    message.address = reinterpret_cast<std::uintptr_t>(data);
    message.value = mark.value;
    for (const int other : others) tell(other, message, {}, -1);
  }

  /// The queue waits for what `source` posts in a step.
  const std::byte* wait_for(int source, int step) {
    Message post{};
    {
      std::unique_lock lock(mutex_);
      const std::pair which(source, step);
      come_.wait(lock, [&] { return posts_.count(which) != 0 || failed_; });
      if (failed_) throw Error("lost");
      post = posts_.at(which);
    }
    const Board& copy = *copies_[static_cast<std::size_t>(source)];
    gpu_.wait(queue_, [&copy, value = post.value] { return copy.value(lane) >= value; });
    taken_[source] = post.value;
    return reinterpret_cast<const std::byte*>(post.address);
  }

  void read(int source, const std::byte* theirs, std::byte* mine, index_t height, index_t columns,
            index_t stride) {
    std::vector<Mark> taken;
    for (const auto& [process, value] : taken_) taken.push_back({process, lane, value});
    passages_.read(0, {source, 0}, taken, EmulatedEnd::pointer_to(queue_),
                   {theirs, height, columns, stride}, {mine, height, columns, stride + 5});
  }

  /// On the queue. It takes some time.
  void then(std::function<void()> work) {
    const std::chrono::microseconds time(std::uniform_int_distribution(0, 3000)(times_));
    gpu_.work(queue_, time, std::move(work));
  }

  bool is_idle() const { return gpu_.is_idle(); }
  /// All that is under way ends, whatever it was.
  void give_up() {
    {
      const std::unique_lock lock(mutex_);
      failed_ = true;
    }
    come_.notify_all();
    loses_ = true;
  }
  std::vector<std::string> given_up_on;  // once stopped

 private:
  struct Letter {
    Message message;
    std::string text;
    std::chrono::steady_clock::time_point due;
  };

  Passages::Surroundings surroundings() {
    Passages::Surroundings outside;
    outside.new_name = [this] {
      static std::atomic<int> names{0};
      return std::to_string(number_) + "/" + std::to_string(++names);
    };
    outside.make_end = [this](int, PassageEnd::Role, const std::string& name) {
      return std::make_shared<EmulatedEnd>(gpu_, name);
    };
    outside.words_of = [this](int process) -> const cuda::Words& {
      return process == number_ ? *board_ : *copies_[static_cast<std::size_t>(process)];
    };
    outside.give_up_on = [this](int process, const std::string& why) {
      given_up_on.push_back(why);
      passages_.lose(process, why);
    };
    return outside;
  }

  void take(int from, const Message& message, const std::string& text) {
    const std::unique_lock lock(inbox_mutex_);
    auto& letters = inbox_[static_cast<std::size_t>(from)];
    auto due = std::chrono::steady_clock::now() +
               std::chrono::microseconds(std::uniform_int_distribution(0, 2000)(generator_));
    if (!letters.empty()) due = std::max(due, letters.back().due);
    letters.push_back({message, text, due});
  }

  void run() {
    while (!ends_) {
      for (std::size_t from = 0; from < inbox_.size(); ++from) {
        std::optional<Letter> letter;
        {
          const std::unique_lock lock(inbox_mutex_);
          auto& letters = inbox_[from];
          if (letters.empty() || letters.front().due > std::chrono::steady_clock::now()) continue;
          letter = std::move(letters.front());
          letters.pop_front();
        }
        handle(static_cast<int>(from), *letter);
      }
      relay_.work();
      passages_.work();
      if (loses_.exchange(false)) {
        for (const auto& copy : copies_) {
          if (copy) copy->release();
        }
        for (const Process* other : all_) passages_.lose(other->number_, "given up");
      }
      std::this_thread::sleep_for(20us);
    }
  }

  void handle(int from, const Letter& letter) {
    const Board* const copy = copies_[static_cast<std::size_t>(from)].get();
    switch (letter.message.kind) {
      case Kind::post: {
        const std::unique_lock lock(mutex_);
        posts_[{from, static_cast<int>(letter.message.tag)}] = letter.message;
        come_.notify_all();
        return;
      }
      case Kind::reached:
        for (const Mark& mark : cuda::marks_of(letter.text)) copy->set(mark.word, mark.value);
        return;
      case Kind::broken:
        return passages_.lose(from, letter.text);
      default:
        return passages_.handle(from, {letter.message, letter.text, {}});
    }
  }

  const int number_;
  std::vector<Process*> all_;
  std::mt19937 times_;      // of the rank
  std::mt19937 generator_;  // with inbox_mutex_
  std::unique_ptr<Board> board_;
  std::vector<std::unique_ptr<Board>> copies_;
  Gpu gpu_;
  Relay relay_;
  Passages passages_;
  const int queue_;
  std::uint64_t posted_ = 0;
  std::map<int, std::uint64_t> taken_;

  std::mutex inbox_mutex_;
  std::vector<std::deque<Letter>> inbox_;  // by sender
  std::mutex mutex_;
  std::condition_variable come_;
  std::map<std::pair<int, int>, Message> posts_;  // by source and step
  bool failed_ = false;
  std::atomic<bool> loses_{false}, ends_{false};
  std::thread thread_;
};

/// Some processes with a rank each.
class Job {
 public:
  Job(int count, unsigned seed, Gpu::Queues queues) {
    for (int process = 0; process < count; ++process) {
      processes_.push_back(std::make_unique<Process>(process, count, seed, queues));
      all_.push_back(processes_.back().get());
    }
    for (Process* process : all_) process->meet(all_);
  }
  ~Job() {
    for (Process* process : all_) process->stop();
  }
  Process& at(int process) { return *all_[static_cast<std::size_t>(process)]; }
  int size() const { return static_cast<int>(all_.size()); }

  /// Runs `program(process)` in all. Whether all that it enqueues gets to its end in time.
  bool run(const std::function<void(int)>& program) {
    std::vector<std::future<void>> ranks;
    for (int process = 0; process < size(); ++process) {
      ranks.push_back(std::async(std::launch::async, program, process));
    }
    const auto limit = std::chrono::steady_clock::now() + 20s;
    bool in_time = true;
    for (auto& rank : ranks) in_time &= rank.wait_until(limit) == std::future_status::ready;
    const auto idle = [](const Process* process) { return process->is_idle(); };
    while (in_time && !std::all_of(all_.begin(), all_.end(), idle)) {
      std::this_thread::sleep_for(1ms);
      in_time = std::chrono::steady_clock::now() < limit;
    }
    if (!in_time) {
      for (Process* process : all_) process->give_up();
    }
    for (auto& rank : ranks) {
      try {
        rank.get();
      } catch (const Error&) {
        in_time = false;
      }
    }
    return in_time;
  }

 private:
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<Process*> all_;
};

std::byte value_at(int step, index_t at) { return static_cast<std::byte>(step * 31 + at % 251); }

index_t height_in(int step) {
  return step % 16 == 7 ? PassageEnd::piece_bytes / 2 + 3 : 100 + step;
}
index_t stride_in(int step) { return height_in(step) + step % 3; }
constexpr index_t columns = 3;

/// In each step all show the others a matrix, and read some of theirs, in any order: so what they
/// show depends on what others have done.
void pass_around(Job& job, int me, int steps, unsigned seed, std::atomic<int>& wrong) {
  Process& process = job.at(me);
  process.connect();
  std::mt19937 generator(seed * 10 + static_cast<unsigned>(me));
  using Bytes = std::vector<std::byte>;
  // Others may read what is shown until the end, and after.
  const auto kept = [](index_t size) -> Bytes& {
    static std::mutex mutex;
    static std::deque<Bytes> all;
    const std::unique_lock lock(mutex);
    return all.emplace_back(static_cast<std::size_t>(size));
  };
  std::vector<int> others(static_cast<std::size_t>(job.size()));
  std::iota(others.begin(), others.end(), 0);
  others.erase(others.begin() + me);
  for (int step = 0; step < steps; ++step) {
    const index_t height = height_in(step), stride = stride_in(step);
    Bytes& shown = kept(stride * columns);
    process.post(step, shown.data(), [=, &shown] {
      for (index_t at = 0; at < stride * columns; ++at) {
        shown[static_cast<std::size_t>(at)] = value_at(me + step, at);
      }
    });
    std::shuffle(others.begin(), others.end(), generator);
    for (const int other : others) {
      if (generator() % 4 == 0) continue;
      Bytes& read = kept((stride + 5) * columns);
      process.then([&read] { std::fill(read.begin(), read.end(), std::byte{0}); });
      const std::byte* const theirs = process.wait_for(other, step);
      process.read(other, theirs, read.data(), height, columns, stride);
      process.then([=, &read, &wrong] {
        for (index_t j = 0; j < columns; ++j) {
          for (index_t i = 0; i < height; ++i) {
            const std::byte found = read[static_cast<std::size_t>(j * (stride + 5) + i)];
            if (found != value_at(other + step, j * stride + i)) ++wrong;
          }
        }
      });
    }
  }
}

// ---- The tests ----------------------------------------------------------------------------------

TEST(Passages, DeliverWhatWasPostedAndBlockNobody) {
  for (const int count : {2, 3, 4}) {
    for (unsigned seed = 1; seed <= 4; ++seed) {
      std::atomic<int> wrong{0};
      Job job(count, seed, seed % 2 == 0 ? Gpu::Queues::many : Gpu::Queues::one);
      EXPECT_TRUE(job.run([&](int me) { pass_around(job, me, 20, seed, wrong); }))
          << count << " processes, seed " << seed;
      EXPECT_EQ(wrong, 0) << count << " processes, seed " << seed;
      for (int process = 0; process < count; ++process) {
        job.at(process).stop();
        EXPECT_TRUE(job.at(process).given_up_on.empty());
      }
    }
  }
}

TEST(Passages, LetGoOfWhoReadsFromALostProcess) {
  Job job(2, 1, Gpu::Queues::one);
  std::vector<std::byte> theirs(100), mine(200);
  ASSERT_TRUE(job.run([&](int me) { job.at(me).connect(); }));
  job.at(1).stop();
  auto reading = std::async(std::launch::async,
                            [&] { job.at(0).read(1, theirs.data(), mine.data(), 10, 2, 10); });
  EXPECT_EQ(reading.wait_for(50ms), std::future_status::timeout);
  job.at(0).give_up();
  ASSERT_EQ(reading.wait_for(10s), std::future_status::ready);
  EXPECT_THROW(reading.get(), DeviceError);
  EXPECT_THROW(job.at(0).read(1, theirs.data(), mine.data(), 10, 2, 10), DeviceError);
  EXPECT_THROW(job.at(0).connect(), DeviceError);
}

TEST(Turn, IsGivenInTheOrderOfAsking) {
  Turn<int> turn;
  EXPECT_TRUE(turn.ask(1));
  EXPECT_FALSE(turn.ask(2));
  EXPECT_FALSE(turn.ask(3));
  EXPECT_FALSE(turn.give_back(2));  // it does not wait any more
  EXPECT_TRUE(turn.is_of(1));
  EXPECT_TRUE(turn.give_back(1));
  EXPECT_EQ(turn.holder(), 3);
  EXPECT_FALSE(turn.give_back(1));
  EXPECT_FALSE(turn.give_back(3));
  EXPECT_FALSE(turn.is_taken());
}

TEST(Nccl, IsThereOrSaysWhatToInstall) {
  try {
    EXPECT_NE(nccl::library().Send, nullptr);
  } catch (const DeviceError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("NCCL cannot be used: libnccl.so.2"), std::string::npos) << what;
    EXPECT_NE(what.find("nvidia-nccl-cu13"), std::string::npos) << what;
  }
}

/// What a relay says.
struct Listener final : processes::Courier {
  void tell(int process, const Message& message, const std::string& text, int) override {
    EXPECT_EQ(message.kind, Kind::reached);
    for (const Mark& mark : cuda::marks_of(text)) {
      said.push_back({process, mark.process, mark.word, static_cast<int>(mark.value)});
    }
  }
  void tell_everybody(const Message&, const std::string&, int) override { ADD_FAILURE(); }
  bool shares_host(int) override { return false; }
  std::vector<std::array<int, 4>> take() { return std::exchange(said, {}); }
  std::vector<std::array<int, 4>> said;  // to whom, whose, word, value
};

TEST(Relay, TellsWhatHasBeenReachedOnceAndNoMoreThanPromised) {
  using Said = std::vector<std::array<int, 4>>;
  const auto board = Board::create(3).first;
  Listener listener;
  Relay relay(*board, 1, listener);
  relay.work();
  EXPECT_FALSE(relay.has_promised());
  relay.promise({1, 5, 1}, {0, 2});
  relay.promise({1, 5, 2}, {0});
  relay.promise({1, 9, 7}, {2});
  relay.work();
  EXPECT_EQ(listener.take(), Said());
  EXPECT_TRUE(relay.has_promised());
  board->set(5, 1);
  relay.work();
  EXPECT_EQ(listener.take(), (Said{{0, 1, 5, 1}, {2, 1, 5, 1}}));
  relay.work();
  EXPECT_EQ(listener.take(), Said());
  board->set(5, 3);
  board->set(9, 7);
  board->set(10, 1);
  relay.work();
  EXPECT_EQ(listener.take(), (Said{{0, 1, 5, 2}, {2, 1, 5, 2}, {2, 1, 9, 7}}));
  EXPECT_FALSE(relay.has_promised());
}

TEST(Board, WordsOfACopyOnlyGrow) {
  const auto board = Board::create(2).first;
  board->set(3, 5);
  board->set(3, 4);
  EXPECT_EQ(board->value(3), 5u);
  board->release();
  board->set(3, 6);
  EXPECT_GT(board->value(3), std::uint64_t{1} << 61);
  EXPECT_THROW(board->value(-1), Error);
  EXPECT_THROW(board->set(static_cast<int>(Board::bytes(2) / 8), 1), Error);
}

}  // namespace
}  // namespace jaxmg
#endif
