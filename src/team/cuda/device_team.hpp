// The ranks of one call on GPUs of several processes.
#pragma once

#include <map>
#include <vector>

#include "device/cuda/backend.hpp"
#include "team/cuda/device_link.hpp"
#include "team/processes/spread_team.hpp"

namespace jaxmg::cuda {

class DeviceTeamCall final : public processes::SpreadTeamCall<Backend> {
 public:
  DeviceTeamCall(processes::Courier& courier, DeviceLink& link, int process,
                 const processes::CallName& name, int size);

  /// Connects the rank's GPU with those of other processes; the first such call takes long.
  void begin(int rank) override;
  void poison(int rank, std::exception_ptr failure) override;
  void read(int rank, int source, Queue& queue, const ByteColumns<const std::byte>& theirs,
            const ByteColumns<std::byte>& mine) override;

  /// See DeviceLink::gone_flag(): one for each other process that has ranks.
  std::vector<const std::int32_t*> gone_flags() const;
  /// The call, "potrs of ...", has returned, and its results are there when `end` has happened.
  void watch(const std::string& text, Event end) const;

 protected:
  void mark(processes::Message& post, Queue& queue) override;
  void taken(int rank, int source, const processes::Message& post) override;
  Event arrived(const processes::Message& post, bool has_failed) override;

 private:
  /// The posts that a rank has taken, and how many of them each other rank has been told.
  struct Log {
    std::vector<Mark> taken;
    std::map<int, std::size_t> told;
  };
  std::vector<Mark> news_for(int source, Log& log) const;

  DeviceLink& link_;
  std::vector<Log> logs_;  // each of its rank's thread alone
};

}  // namespace jaxmg::cuda
