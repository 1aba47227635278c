// In place of the library's header of this name.
#pragma once

#include "emulated/gpu.hpp"

namespace jaxmg::emulated {

template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(here().shared);
}

inline int load_acquire(const int* place) { return *place; }
inline void store_release(int* place, int value) { *place = value; }
inline std::uint64_t load_relaxed(const std::uint64_t* place) { return *place; }
inline void store_relaxed(std::uint64_t* place, std::uint64_t value) { *place = value; }
inline void meet(int place, int count) { meet_at(place, count, true); }
inline void arrive(int place, int count) { meet_at(place, count, false); }
inline void pause() { give_way(); }

}  // namespace jaxmg::emulated
