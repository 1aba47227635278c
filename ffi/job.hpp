// Whether this process is one of several that make calls together, and how it reaches the others.
#pragma once

#include "call.hpp"
#include "team/processes/exchange.hpp"

namespace jaxmg::ffi {

/// What Python knows of the job: jax.distributed's numbers, a name that no other job has, and how
/// processes of other hosts are reached.
struct JobAnswer {
  std::int32_t process;
  std::int32_t processes;  ///< 1 where jax.distributed is not initialized; 0: Python has failed
  std::int32_t local_devices;
  std::int32_t devices;    ///< of all processes
  char name[128];          ///< the job's on this host, or what has failed
  std::int32_t listening;  ///< a TCP socket for processes of other hosts, from now on ours
  char secret[64];         ///< the job's
  char contact[64];        ///< where `listening` is; see processes::Contact
  const char* others;      ///< lines of a number and a contact: processes of other hosts
};

/// How the processes of other hosts are reached.
processes::Network network_of(const JobAnswer& answer);

/// Whom to ask; asked once, when a program with our calls is about to be run.
void set_job(void (*ask)(JobAnswer*));
void learn_job();

/// Whether a call's ranks may be in several processes: it has a ticket, the program says so, or
/// there are more ranks than this process has devices.
bool is_spread(const CallSite& site);

/// Whether there are other processes at all.
bool is_in_a_job();

/// Throws Error where it could not be made.
processes::Exchange& exchange();

/// Each library has one, for its own kind of devices.
std::unique_ptr<processes::Exchange> make_exchange(const JobAnswer& answer);

/// A number in two halves, not zero, that no other process and no other call of this one gets.
void new_ticket(std::int32_t* halves);
std::int64_t ticket_of(const std::int32_t* halves);

}  // namespace jaxmg::ffi
