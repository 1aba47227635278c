// Runs a rank program on a public team.
#pragma once

#include <vector>

#include "device/cpu/allocate.hpp"
#include "jaxmg/team.hpp"
#include "team/jobs.hpp"

namespace jaxmg {

/// Gives every rank `bytes` of workspace and waits for all; throws what failed.
template <class Program>
void run_with_workspace(const Team& team, std::size_t bytes, const Program& program) {
  std::vector<std::shared_ptr<std::byte>> workspaces;
  for (int p = 0; p < team.size(); ++p) {
    workspaces.push_back(cpu::allocate<std::byte>(static_cast<index_t>(bytes)));
  }
  const TeamOptions options{team.options().reads_peers_directly, team.options().silence};
  run_team(
      team.size(),
      [&](Rank<cpu::Backend>& rank) {
        program(rank, workspaces[static_cast<std::size_t>(rank.index())].get());
      },
      options);
}

}  // namespace jaxmg
