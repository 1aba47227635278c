#include "team/processes/process_team.hpp"

#include <algorithm>
#include <limits>
#include <string>

namespace jaxmg::processes {

ProcessTeamCall::ProcessTeamCall(Courier& courier, int process, const CallName& name, int size_,
                                 const TeamOptions& options_)
    : TeamCall(size_, options_),
      courier_(courier),
      process_(process),
      name_(name),
      met_(static_cast<std::size_t>(size_), 0) {}

void ProcessTeamCall::seat(const std::vector<int>& processes) {
  processes_ = processes;
  others_ = processes;
  std::sort(others_.begin(), others_.end());
  others_.erase(std::unique(others_.begin(), others_.end()), others_.end());
  others_.erase(std::remove(others_.begin(), others_.end(), process_), others_.end());
}

void ProcessTeamCall::tell_others(Message message, const std::string& text) {
  message.call = name_;
  for (const int process : others_) courier_.tell(process, message, text);
}

cpu::Event ProcessTeamCall::post(int rank, index_t tag, const void* data, Queue& written_on) {
  Event written = written_on.record();
  {
    std::unique_lock lock(mutex_);
    entries_.emplace(Key(rank, tag), Entry{data, written});
    ++posted_;
    changed_.notify_all();
  }
  if (others_.empty()) return written;
  Message message{Kind::post, rank};
  message.tag = tag;
  message.address = reinterpret_cast<std::uintptr_t>(data);
  tell_others(message);
  message.kind = Kind::happened;
  cpu::after(written, [self = shared_from_this(), message] { self->tell_others(message); });
  return written;
}

ProcessTeamCall::Entry ProcessTeamCall::take(int source, index_t tag) {
  const Key key(source, tag);
  std::unique_lock lock(mutex_);
  while (true) {
    const index_t before = posted_;
    const bool woken = changed_.wait_for(lock, options.silence, [&] {
      return !failures_.empty() || entries_.count(key) != 0 || posted_ != before;
    });
    if (!failures_.empty()) std::rethrow_exception(failure());
    if (const auto entry = entries_.find(key); entry != entries_.end()) return entry->second;
    if (!woken) {
      throw TimeOut("nothing came from rank " + std::to_string(source) + " for " +
                    std::to_string(options.silence.count()) + " ms inside a call");
    }
  }
}

std::exception_ptr ProcessTeamCall::failure() const {
  if (failures_.empty()) return nullptr;
  const auto& [rank, why] = *failures_.begin();
  return std::make_exception_ptr(TeamError(rank, size, why));
}

void ProcessTeamCall::fail(int rank, const std::string& why) {
  failures_.emplace(rank, why);
  for (const auto& [key, latch] : latches_) latch.open();
  latches_.clear();
  changed_.notify_all();
}

void ProcessTeamCall::poison(int rank, std::exception_ptr failure) {
  const std::string why = message_of(failure);
  {
    std::unique_lock lock(mutex_);
    if (!failures_.empty()) return;  // this rank has failed because another one has
    fail(rank, why);
  }
  tell_others({Kind::poison, rank}, why);
}

/// A meeting ends when all ranks have come. A rank's failure is told before its coming: so all
/// processes then know of the same failures, and take that of the lowest rank.
void ProcessTeamCall::end_meetings() {
  const auto ended = static_cast<std::size_t>(*std::min_element(met_.begin(), met_.end()));
  if (ended <= outcomes_.size()) return;
  outcomes_.resize(ended, failure());
  changed_.notify_all();
}

void ProcessTeamCall::leave(int rank) {
  {
    std::unique_lock lock(mutex_);
    ++met_[static_cast<std::size_t>(rank)];
    end_meetings();
  }
  tell_others({Kind::met, rank});
}

std::exception_ptr ProcessTeamCall::meet(int rank) {
  leave(rank);
  std::unique_lock lock(mutex_);
  const auto meeting = static_cast<std::size_t>(met_[static_cast<std::size_t>(rank)]);
  changed_.wait(lock, [&] { return outcomes_.size() >= meeting; });
  return outcomes_[meeting - 1];
}

void ProcessTeamCall::tell(int rank, index_t, const void*) {
  throw Error("rank " + std::to_string(rank) + " cannot tell a rank of another process a pointer");
}

const void* ProcessTeamCall::hear(int source, index_t) {
  throw Error("rank " + std::to_string(source) +
              " may be in another process, and tells no pointer");
}

bool ProcessTeamCall::reaches(int source) const {
  return processes_[static_cast<std::size_t>(source)] == process_;
}

void ProcessTeamCall::read(int source, Queue& queue, const ByteColumns<const std::byte>& theirs,
                           const ByteColumns<std::byte>& mine) {
  Message request{Kind::request};
  request.address = reinterpret_cast<std::uintptr_t>(theirs.data);
  request.height = theirs.height;
  request.columns = theirs.columns;
  request.stride = theirs.stride;
  const int process = processes_[static_cast<std::size_t>(source)];
  const cpu::Latch done;
  cpu::after(queue.record(), [&courier = courier_, process, request, mine, done] {
    courier.fetch(process, request, mine, done);
  });
  queue.wait(done.event());
}

void ProcessTeamCall::receive(const Message& message, const std::string& text) {
  std::unique_lock lock(mutex_);
  const Key key(message.rank, message.tag);
  switch (message.kind) {
    case Kind::post: {
      const cpu::Latch latch;
      const auto* const address = reinterpret_cast<const void*>(message.address);
      entries_.emplace(key, Entry{address, latch.event()});
      if (failures_.empty()) {
        latches_.emplace(key, latch);
      } else {
        latch.open();
      }
      ++posted_;
      break;
    }
    case Kind::happened:
      if (const auto latch = latches_.find(key); latch != latches_.end()) {
        latch->second.open();
        latches_.erase(latch);
      }
      break;
    case Kind::poison:
      fail(message.rank, text);
      break;
    case Kind::met:
      ++met_[static_cast<std::size_t>(message.rank)];
      end_meetings();
      break;
    default:
      break;
  }
  changed_.notify_all();
}

void ProcessTeamCall::lose(int process, const std::string& why) {
  std::unique_lock lock(mutex_);
  for (std::size_t rank = 0; rank < processes_.size(); ++rank) {
    if (processes_[rank] != process) continue;
    if (failures_.empty()) fail(static_cast<int>(rank), why);
    met_[rank] = std::numeric_limits<index_t>::max();
  }
  end_meetings();
}

}  // namespace jaxmg::processes
