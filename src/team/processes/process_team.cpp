#include "team/processes/process_team.hpp"

namespace jaxmg::processes {
namespace {

TeamOptions pulling() {
  TeamOptions options;
  options.reads_peers_directly = false;
  return options;
}

}  // namespace

ProcessTeamCall::ProcessTeamCall(Courier& courier, Fetcher& fetcher, int process,
                                 const CallName& name, int size_)
    : SpreadTeamCall(courier, process, name, size_, pulling()), fetcher_(fetcher) {}

void ProcessTeamCall::read(int, int source, Queue& queue,
                           const ByteColumns<const std::byte>& theirs,
                           const ByteColumns<std::byte>& mine) {
  Message request{Kind::request};
  request.address = reinterpret_cast<std::uintptr_t>(theirs.data);
  request.height = theirs.height;
  request.columns = theirs.columns;
  request.stride = theirs.stride;
  const int process = place_of(source).process;
  const cpu::Latch done;
  cpu::after(queue.record(), [&fetcher = fetcher_, process, request, mine, done] {
    fetcher.fetch(process, request, mine, done);
  });
  queue.wait(done.event());
}

void ProcessTeamCall::told(const Message& post, const Event& written) {
  Message message = post;
  message.kind = Kind::happened;
  cpu::after(written, [self = shared_from_this(), message] { self->tell_others(message); });
}

cpu::Event ProcessTeamCall::arrived(const Message& post, bool has_failed) {
  const cpu::Latch latch;
  if (has_failed) {
    latch.open();
  } else {
    latches_.emplace(std::pair(post.rank, post.tag), latch);
  }
  return latch.event();
}

void ProcessTeamCall::happened(const Message& message) {
  const auto latch = latches_.find({message.rank, message.tag});
  if (latch == latches_.end()) return;
  latch->second.open();
  latches_.erase(latch);
}

void ProcessTeamCall::release() {
  for (const auto& [key, latch] : latches_) latch.open();
  latches_.clear();
}

Arrival<SpreadTask> spread(Arrival<RankTask> arrival) {
  SpreadTask task;
  task.done = arrival.task.done;
  task.start = [rank = arrival.rank, mine = std::move(arrival.task)](
                   const std::shared_ptr<Member>& team, const std::function<void()>& ended) {
    RankTask seated = mine;
    seated.done = [ended, done = mine.done](const std::exception_ptr& failure) {
      ended();
      done(failure);
    };
    start_ranks(std::static_pointer_cast<ProcessTeamCall>(team), {{rank, std::move(seated)}});
  };
  return {arrival.rank, arrival.size, std::move(arrival.call), std::move(task),
          std::move(arrival.failure)};
}

}  // namespace jaxmg::processes
