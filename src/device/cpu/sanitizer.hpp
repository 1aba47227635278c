// What the sanitizers are told that they cannot see: which queue runs, and what BLAS touches.
//
// A queue is one logical thread, whichever worker runs it. ThreadSanitizer is given that view by
// a fiber a queue, so that two tasks that merely happened to run on one worker, one after the
// other, do not count as ordered; only queue order and events do. What a task touches beside its
// operands is not looked at: its captures and its stack are handed on by the executor, which that
// view does not know of.
#pragma once

#include "jaxmg/types.hpp"
#include "jaxmg/view.hpp"

#if defined(JAXMG_SANITIZE_THREAD)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);
void __tsan_read_range(void* address, unsigned long size);
void __tsan_write_range(void* address, unsigned long size);
}
#elif defined(JAXMG_SANITIZE_ADDRESS)
#include <sanitizer/asan_interface.h>

#include "jaxmg/error.hpp"
#endif

namespace jaxmg::cpu {

/// `address` carries an order: what came before a release comes before a later acquire.
inline void release([[maybe_unused]] void* address) {
#if defined(JAXMG_SANITIZE_THREAD)
  __tsan_release(address);
#endif
}
inline void acquire([[maybe_unused]] void* address) {
#if defined(JAXMG_SANITIZE_THREAD)
  __tsan_acquire(address);
#endif
}

/// The logical thread of a queue.
class Fiber {
 public:
#if defined(JAXMG_SANITIZE_THREAD)
  Fiber() : fiber_(__tsan_create_fiber(0)) {}
  ~Fiber() { __tsan_destroy_fiber(fiber_); }
  void* get() const { return fiber_; }
#else
  Fiber() = default;
#endif
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

 private:
#if defined(JAXMG_SANITIZE_THREAD)
  void* fiber_;
#endif
};

/// While it lives, this thread acts as the queue that `fiber` belongs to, and only what is declared
/// counts as read or written.
class OnFiber {
 public:
#if defined(JAXMG_SANITIZE_THREAD)
  explicit OnFiber(const Fiber& fiber) : before_(__tsan_get_current_fiber()) {
    __tsan_switch_to_fiber(fiber.get(), no_order);
    __tsan_ignore_thread_begin();
  }
  ~OnFiber() {
    void* const before = before_;
    __tsan_ignore_thread_end();
    __tsan_switch_to_fiber(before, no_order);
  }
#else
  explicit OnFiber(const Fiber&) {}
  ~OnFiber() = default;
#endif
  OnFiber(const OnFiber&) = delete;
  OnFiber& operator=(const OnFiber&) = delete;

 private:
#if defined(JAXMG_SANITIZE_THREAD)
  static constexpr unsigned no_order = 1;
  void* before_;
#endif
};

namespace detail {

template <class T, class Declare>
void each_column(MatrixView<T> view, Declare declare) {
  if (view.empty()) return;
  const auto bytes = static_cast<unsigned long>(view.rows) * sizeof(T);
  for (index_t j = 0; j < view.cols; ++j) {
    declare(const_cast<void*>(static_cast<const void*>(&view(0, j))), bytes);
  }
}

inline void declare([[maybe_unused]] void* address, [[maybe_unused]] unsigned long bytes,
                    [[maybe_unused]] bool writes) {
#if defined(JAXMG_SANITIZE_THREAD)
  __tsan_ignore_thread_end();
  if (writes) {
    __tsan_write_range(address, bytes);
  } else {
    __tsan_read_range(address, bytes);
  }
  __tsan_ignore_thread_begin();
#elif defined(JAXMG_SANITIZE_ADDRESS)
  if (__asan_region_is_poisoned(address, bytes) != nullptr) {
    throw Error(writes ? "a tile operation writes outside its buffer"
                       : "a tile operation reads outside its buffer");
  }
#endif
}

}  // namespace detail

/// A tile operation is about to read (write) this window. To be called in a task.
template <class T>
void declare_read([[maybe_unused]] MatrixView<T> view) {
#if defined(JAXMG_SANITIZE_THREAD) || defined(JAXMG_SANITIZE_ADDRESS)
  detail::each_column(view, [](void* p, unsigned long n) { detail::declare(p, n, false); });
#endif
}
template <class T>
void declare_write([[maybe_unused]] MatrixView<T> view) {
#if defined(JAXMG_SANITIZE_THREAD) || defined(JAXMG_SANITIZE_ADDRESS)
  detail::each_column(view, [](void* p, unsigned long n) { detail::declare(p, n, true); });
#endif
}

/// `count` neighbouring scalars.
template <class T>
void declare_read(const T* first, index_t count) {
  declare_read(MatrixView<const T>(first, count, 1, count));
}
template <class T>
void declare_write(T* first, index_t count) {
  declare_write(MatrixView<T>(first, count, 1, count));
}

/// The lower triangle (trapezoid) alone: what BLAS reads of a triangular operand.
template <class T>
void declare_read_lower([[maybe_unused]] MatrixView<T> view) {
#if defined(JAXMG_SANITIZE_THREAD) || defined(JAXMG_SANITIZE_ADDRESS)
  for (index_t j = 0; j < view.cols && j < view.rows; ++j) {
    declare_read(view.block(j, j, view.rows - j, 1));
  }
#endif
}
template <class T>
void declare_write_lower([[maybe_unused]] MatrixView<T> view) {
#if defined(JAXMG_SANITIZE_THREAD) || defined(JAXMG_SANITIZE_ADDRESS)
  for (index_t j = 0; j < view.cols && j < view.rows; ++j) {
    declare_write(view.block(j, j, view.rows - j, 1));
  }
#endif
}

}  // namespace jaxmg::cpu
