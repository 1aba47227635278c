#include "team/rendezvous_impl.hpp"

namespace jaxmg {

template void arrive(const CallKey& key, Arrival<RankTask> arrival);

}  // namespace jaxmg
