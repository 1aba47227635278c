#include "job.hpp"

#include <atomic>
#include <mutex>
#include <sstream>

namespace jaxmg::ffi {
namespace {

std::atomic<void (*)(JobAnswer*)> python{nullptr};

/// Never destroyed, as its exchange.
struct Job {
  JobAnswer answer{0, 1, 0, 0, {}, -1, {}, {}, nullptr};
  processes::Exchange* exchange = nullptr;
  std::string failure;

  explicit Job(void (*ask)(JobAnswer*)) {
    if (ask == nullptr) return;
    ask(&answer);
    if (answer.processes == 1) return;
    try {
      if (answer.processes < 1) throw Error(answer.name);
      exchange = make_exchange(answer).release();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
};

std::atomic<const Job*> job{nullptr};

}  // namespace

processes::Network network_of(const JobAnswer& answer) {
  processes::Network network;
  if (answer.listening < 0) return network;
  network.listening = processes::Descriptor(answer.listening);
  network.contact = processes::Contact::of(answer.contact);
  network.secret = answer.secret;
  std::istringstream others(answer.others == nullptr ? "" : answer.others);
  int process = 0;
  for (std::string contact; others >> process && std::getline(others, contact);) {
    network.others[process] = processes::Contact::of(contact);
  }
  return network;
}

void set_job(void (*ask)(JobAnswer*)) { python = ask; }

void learn_job() {
  static std::once_flag once;
  std::call_once(once, [] { job = new Job(python); });
}

/// Asks, if XLA has not told that a program was made: it does not of one from a cache.
bool is_in_a_job() {
  learn_job();
  return job.load(std::memory_order_acquire)->answer.processes != 1;
}

bool is_spread(const CallSite& site) {
  if (!is_in_a_job()) return false;
  return site.ticket != 0 || site.spread || site.size > job.load()->answer.local_devices;
}

processes::Exchange& exchange() {
  const Job& known = *job.load(std::memory_order_acquire);
  if (known.exchange != nullptr) return *known.exchange;
  throw Error("this process cannot reach the others of its job: " + known.failure);
}

void new_ticket(std::int32_t* halves) {
  static std::atomic<std::uint32_t> count{0};
  halves[0] = 1 + job.load(std::memory_order_acquire)->answer.process;
  halves[1] = static_cast<std::int32_t>(++count & 0x7fffffff);
}

std::int64_t ticket_of(const std::int32_t* halves) {
  return (static_cast<std::int64_t>(halves[0]) << 32) | halves[1];
}

}  // namespace jaxmg::ffi
