// How a test spreads a matrix over ranks and factors it.
#pragma once

#include <ostream>
#include <utility>

#include "jaxmg/potrf.hpp"
#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

struct Setting {
  int ranks;
  index_t tile;  ///< 0: the library chooses
  bool reads_peers_directly;

  jaxmg::Team team() const {
    jaxmg::CpuTeamOptions options;
    options.reads_peers_directly = reads_peers_directly;
    return jaxmg::Team::cpu(ranks, options);
  }
};

inline std::ostream& operator<<(std::ostream& out, const Setting& setting) {
  return out << "P = " << setting.ranks << ", T = " << setting.tile
             << (setting.reads_peers_directly ? ", shared memory" : ", separate memory");
}

/// The factor of A, from storage that is NaN wherever it must not be read.
template <Scalar T>
jaxmg::CholeskyFactor<T> factor(const HostMatrix<T>& A, const Setting& setting) {
  jaxmg::DistributedMatrix<T> matrix(setting.team(), A.cols());
  distribute_lower(A, matrix);
  return jaxmg::potrf(std::move(matrix), {.tile = setting.tile});
}

}  // namespace jaxmg_testing
