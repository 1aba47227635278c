// One thread of any device, where several might share the work.
#pragma once

#include "jaxmg/types.hpp"

namespace jaxmg {

/// A thread that works on a sum, a product or a largest number by itself. Where several share the
/// work, they have an object like this of their own: a member's items are those from first() on in
/// steps of count(), and sum(), product() and largest() make one number, the same to the last bit
/// for all members, of one from each.
struct Alone {
  /// Additions by which sum() may change a member's part.
  static constexpr int depth = 0;
  index_t first() const { return 0; }
  index_t count() const { return 1; }
  double sum(double x) const { return x; }
  double product(double x) const { return x; }
  double largest(double x) const { return x; }
};

}  // namespace jaxmg
