#include "device/cpu/blas.hpp"

#include <atomic>
#include <utility>

#include "jaxmg/error.hpp"

namespace jaxmg::cpu {
namespace {

struct Installed {
  BlasTable table;
  std::string name;
};

/// Published once and never freed: tile operations may run while the process ends.
std::atomic<const Installed*> installed{nullptr};

const Installed& require() {
  const Installed* const blas = installed.load(std::memory_order_acquire);
  if (blas == nullptr) throw Error("no BLAS has been given to jaxmg's CPU engine");
  return *blas;
}

}  // namespace

void set_blas(const BlasTable& table, std::string name) {
  const auto* const blas = new Installed{table, std::move(name)};
  const Installed* none = nullptr;
  if (!installed.compare_exchange_strong(none, blas)) delete blas;
}

const BlasTable& blas_table() { return require().table; }
const std::string& blas_name() { return require().name; }

}  // namespace jaxmg::cpu
