#include "team/cuda/device_team.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>

#include "jaxmg/error.hpp"
#include "team/rendezvous_impl.hpp"

namespace jaxmg::cuda {
namespace {

/// How often a rank looks whether it is connected.
constexpr auto while_connecting = std::chrono::milliseconds(1);

TeamOptions pulling() {
  TeamOptions options;
  options.reads_peers_directly = false;
  return options;
}

}  // namespace

DeviceTeamCall::DeviceTeamCall(processes::Courier& courier, DeviceLink& link, int process,
                               const processes::CallName& name, int size_)
    : SpreadTeamCall(courier, process, name, size_, pulling()),
      link_(link),
      logs_(static_cast<std::size_t>(size_)) {}

void DeviceTeamCall::begin(int rank) {
  const auto limit = std::chrono::steady_clock::now() + jaxmg::detail::arrival_timeout();
  std::vector<processes::RankPlace> elsewhere;
  std::copy_if(
      ranks().begin(), ranks().end(), std::back_inserter(elsewhere),
      [&](const processes::RankPlace& other) { return other.process != place_of(rank).process; });
  for (const processes::RankPlace& other : elsewhere) link_.connect(place_of(rank).place, other);
  for (const processes::RankPlace& other : elsewhere) {
    while (!link_.connect(place_of(rank).place, other)) {
      throw_if_failed();
      if (std::chrono::steady_clock::now() > limit) {
        throw TimeOut("NCCL did not connect it to process " + std::to_string(other.process) +
                      " of the job in time (JAXMG_TIMEOUT; NCCL_DEBUG=INFO says more)");
      }
      std::this_thread::sleep_for(while_connecting);
    }
  }
}

/// A rank whose GPU is lost has posted what will never happen.
void DeviceTeamCall::poison(int rank, std::exception_ptr failure) {
  SpreadTeamCall::poison(rank, std::move(failure));
  if (device_is_lost()) link_.give_up();
}

std::vector<const std::int32_t*> DeviceTeamCall::gone_flags() const {
  std::vector<const std::int32_t*> flags;
  for (const int process : others()) flags.push_back(link_.gone_flag(process));
  return flags;
}

void DeviceTeamCall::watch(const std::string& text, Event end) const {
  link_.watch({text, ranks(), std::move(end)});
}

void DeviceTeamCall::mark(processes::Message& post, Queue& queue) {
  const Mark mark = link_.mark(queue.lane(), others());
  post.process = mark.process;
  post.word = mark.word;
  post.value = mark.value;
}

void DeviceTeamCall::taken(int rank, int source, const processes::Message& post) {
  if (source == rank || post.word < 0) return;
  logs_[static_cast<std::size_t>(rank)].taken.push_back({post.process, post.word, post.value});
}

Event DeviceTeamCall::arrived(const processes::Message& post, bool) {
  return link_.event_of({post.process, post.word, post.value});
}

/// Of each word the largest number that `source` has not been told yet.
std::vector<Mark> DeviceTeamCall::news_for(int source, Log& log) const {
  std::size_t& told = log.told[source];
  std::map<std::pair<int, int>, std::uint64_t> largest;
  for (; told < log.taken.size(); ++told) {
    const Mark& mark = log.taken[told];
    std::uint64_t& value = largest[{mark.process, mark.word}];
    value = std::max(value, mark.value);
  }
  std::vector<Mark> news;
  for (const auto& [word, value] : largest) news.push_back({word.first, word.second, value});
  return news;
}

void DeviceTeamCall::read(int rank, int source, Queue& queue,
                          const ByteColumns<const std::byte>& theirs,
                          const ByteColumns<std::byte>& mine) {
  Log& log = logs_[static_cast<std::size_t>(rank)];
  link_.read(place_of(rank).place, place_of(source), news_for(source, log), queue, theirs, mine);
}

}  // namespace jaxmg::cuda
