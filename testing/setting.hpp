// How a test spreads a matrix over ranks and factors it.
#pragma once

#include <ostream>
#include <utility>

#include "jaxmg/potrf.hpp"
#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

struct Setting {
  int ranks;
  index_t tile;               ///< 0: the library chooses
  bool reads_peers_directly;  ///< where there is a choice
};

inline std::ostream& operator<<(std::ostream& out, const Setting& setting) {
  return out << "P = " << setting.ranks << ", T = " << setting.tile
             << (setting.reads_peers_directly ? ", shared memory" : ", separate memory");
}

inline jaxmg::Team cpu_team(const Setting& setting) {
  jaxmg::CpuTeamOptions options;
  options.reads_peers_directly = setting.reads_peers_directly;
  return jaxmg::Team::cpu(setting.ranks, options);
}

/// On all GPUs that there are, in turn.
inline jaxmg::Team cuda_team(const Setting& setting) {
  std::vector<int> devices;
  for (int p = 0; p < setting.ranks; ++p) devices.push_back(p % jaxmg::cuda_device_count());
  return jaxmg::Team::cuda(std::move(devices));
}

/// The factor of A, from storage that is NaN wherever it must not be read.
template <Scalar T>
jaxmg::CholeskyFactor<T> factor_on(const jaxmg::Team& team, const HostMatrix<T>& A, index_t tile) {
  jaxmg::DistributedMatrix<T> matrix(team, A.cols());
  distribute_lower(A, matrix);
  return jaxmg::potrf(std::move(matrix), {.tile = tile});
}

}  // namespace jaxmg_testing
