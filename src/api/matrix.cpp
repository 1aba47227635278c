#include "jaxmg/matrix.hpp"

#include "device/cpu/allocate.hpp"

namespace jaxmg {
namespace {

index_t storage_columns(const Team& team, index_t n) {
  if (n < 0) throw InvalidArgument("n: expected 0 or more, got " + std::to_string(n));
  return (n + team.size() - 1) / team.size() * team.size();
}

}  // namespace

template <Scalar T>
DistributedMatrix<T>::DistributedMatrix(const Team& team, index_t n)
    : team_(team), order_(n), columns_(storage_columns(team, n)) {
  for (int p = 0; p < team.size(); ++p) {
    shards_.push_back(cpu::allocate<T>(columns_ * local_columns()));
  }
}

template <Scalar T>
DistributedMatrix<T>::DistributedMatrix(const Team& team, index_t n, std::vector<T*> shards)
    : team_(team), order_(n), columns_(storage_columns(team, n)) {
  if (shards.size() != static_cast<std::size_t>(team.size())) {
    throw InvalidArgument("shards: expected one for each of " + std::to_string(team.size()) +
                          " ranks, got " + std::to_string(shards.size()));
  }
  for (T* shard : shards) shards_.emplace_back(shard, [](T*) {});
}

template class DistributedMatrix<float>;
template class DistributedMatrix<double>;
template class DistributedMatrix<std::complex<float>>;
template class DistributedMatrix<std::complex<double>>;

}  // namespace jaxmg
