// What can go wrong. Misuse and failing devices are exceptions; a matrix that is not positive
// definite is not an error: it is told by `info`.
#pragma once

#include <stdexcept>
#include <string>

#include "jaxmg/export.hpp"

namespace jaxmg {

/// Base of everything this library throws.
class JAXMG_EXPORT Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An argument is wrong. The message says which, what was expected and what came.
class JAXMG_EXPORT InvalidArgument : public Error {
  using Error::Error;
};

/// A host or device allocation failed, or a workspace is too small.
class JAXMG_EXPORT OutOfMemory : public Error {
  using Error::Error;
};

/// A device or one of its libraries failed.
class JAXMG_EXPORT DeviceError : public Error {
  using Error::Error;
};

/// Ranks did not meet in time. C++ programs see it as the cause of a TeamError.
class JAXMG_EXPORT TimeOut : public Error {
  using Error::Error;
};

/// One rank of a team failed; all ranks report the same rank and cause.
class JAXMG_EXPORT TeamError : public Error {
 public:
  TeamError(int rank, int size, const std::string& cause)
      : Error("rank " + std::to_string(rank) + " of " + std::to_string(size) + " failed: " + cause),
        rank_(rank) {}

  int rank() const { return rank_; }

 private:
  int rank_;
};

}  // namespace jaxmg
