#include "emulated/gpu.hpp"

#include <csetjmp>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include <ucontext.h>

namespace jaxmg::emulated {
namespace {

constexpr std::size_t stack_bytes = 64 * 1024;
constexpr std::size_t resident_blocks = 3;
constexpr unsigned lanes = 32;
constexpr long most_idle_turns = 1000000;

enum class State { runs, meets_warp, meets_block, ended };

struct Block;

struct Fiber {
  Place place;
  State state = State::runs;
  ucontext_t context{};  ///< to begin with; then a jump, which makes no system call
  std::jmp_buf jump{};
  bool begun = false;
  Block* block = nullptr;
  std::unique_ptr<char[]> stack;
};

struct Warp {
  char sent[2][lanes][16];  ///< in turns, so that one meeting an exchange is enough
  unsigned turn[lanes] = {};
};

struct MeetingPlace {
  int here = 0;
  long meetings = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  MeetingPlace places[16];
  std::vector<Warp> warps;
  std::vector<double> shared;
};

struct Machine {
  std::jmp_buf scheduler{};
  Fiber* running = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::exception_ptr failure;
  std::vector<std::unique_ptr<char[]>> spare_stacks;
};

Machine& machine() {
  thread_local Machine instance;
  return instance;
}

void enter() {
  try {
    (*machine().kernel)();
  } catch (...) {
    machine().failure = std::current_exception();
  }
  machine().running->state = State::ended;
  _longjmp(machine().scheduler, 1);
}

/// Back to the scheduler, until it comes again.
void leave(State state) {
  Fiber* const me = machine().running;
  me->state = state;
  if (_setjmp(me->jump) == 0) _longjmp(machine().scheduler, 1);
}

/// Until it leaves.
void run(Fiber& fiber) {
  machine().running = &fiber;
  if (_setjmp(machine().scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.jump, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}

/// As left by whoever had it.
std::unique_ptr<char[]> take_stack() {
  auto& spare = machine().spare_stacks;
  if (spare.empty()) return std::unique_ptr<char[]>(new char[stack_bytes]);
  auto stack = std::move(spare.back());
  spare.pop_back();
  return stack;
}

std::unique_ptr<Block> make_block(const Place& place, std::size_t shared) {
  auto block = std::make_unique<Block>();
  const unsigned threads = place.threads.x;
  block->fibers.resize(threads);
  block->warps.resize((threads + lanes - 1) / lanes);
  block->shared.assign(shared / sizeof(double) + 2, -7e77);  // nobody may expect anything
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& fiber = block->fibers[t];
    fiber.place = place;
    fiber.place.thread = dim3(t);
    // Aligned to 16 bytes.
    const auto address = reinterpret_cast<std::uintptr_t>(block->shared.data());
    fiber.place.shared = reinterpret_cast<char*>((address + 15) / 16 * 16);
    fiber.block = block.get();
    fiber.stack = take_stack();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  return block;
}

/// Lets those go on that have all met. Whoever has ended is missed by none but where others wait.
bool release(std::vector<Fiber>& fibers, std::size_t begin, std::size_t end, State state) {
  for (std::size_t i = begin; i < end; ++i) {
    if (fibers[i].state != state) return false;
  }
  for (std::size_t i = begin; i < end; ++i) fibers[i].state = State::runs;
  return true;
}

/// A turn of threads that can go on, now and then without those of a warp; false if none could.
bool run_turn(Block& block, std::mt19937& random) {
  std::vector<std::size_t> order;
  bool any = false, late = false;
  for (std::size_t i = 0; i < block.fibers.size(); ++i) {
    if (i % lanes == 0) late = random() % 4 == 0;
    if (block.fibers[i].state != State::runs) continue;
    any = true;
    if (!late) order.push_back(i);
  }
  std::shuffle(order.begin(), order.end(), random);
  for (const std::size_t i : order) {
    run(block.fibers[i]);
    if (machine().failure) std::rethrow_exception(machine().failure);
  }
  bool released = false;
  const std::size_t threads = block.fibers.size();
  for (std::size_t w = 0; w < threads; w += lanes) {
    const std::size_t end = std::min<std::size_t>(w + lanes, threads);
    released = release(block.fibers, w, end, State::meets_warp) || released;
  }
  released = release(block.fibers, 0, threads, State::meets_block) || released;
  return any || released;
}

bool has_ended(const Block& block) {
  return std::all_of(block.fibers.begin(), block.fibers.end(),
                     [](const Fiber& fiber) { return fiber.state == State::ended; });
}

}  // namespace

Place& here() { return machine().running->place; }

void meet_block() { leave(State::meets_block); }
void meet_warp() { leave(State::meets_warp); }
void give_way() { leave(State::runs); }

void meet_at(int place, int count, bool waits) {
  MeetingPlace& meeting = machine().running->block->places[place];
  const long before = meeting.meetings;
  if (++meeting.here == count) {
    meeting.here = 0;
    ++meeting.meetings;
  }
  do {
    give_way();  // whoever does not wait as well: others may go on before what it does next
  } while (waits && meeting.meetings == before);
}

void exchange(const void* mine, void* theirs, std::size_t bytes, unsigned lane) {
  const unsigned me = here().thread.x % lanes;
  Warp& warp = machine().running->block->warps[here().thread.x / lanes];
  const unsigned turn = warp.turn[me]++ % 2;
  std::memcpy(warp.sent[turn][me], mine, bytes);
  meet_warp();
  std::memcpy(theirs, warp.sent[turn][lane], bytes);
}

void run_grid(dim3 blocks, unsigned threads, std::size_t shared,
              const std::function<void()>& kernel) {
  Machine& gpu = machine();
  gpu.kernel = &kernel;
  gpu.failure = nullptr;
  std::mt19937 random(threads + blocks.x);
  std::vector<std::unique_ptr<Block>> resident;
  const std::size_t count = std::size_t{blocks.x} * blocks.y * blocks.z;
  std::size_t next = 0;
  long idle = 0;
  while (next < count || !resident.empty()) {
    while (next < count && resident.size() < resident_blocks) {
      Place place;
      place.threads = dim3(threads);
      place.blocks = blocks;
      place.block = dim3(static_cast<unsigned>(next % blocks.x),
                         static_cast<unsigned>(next / blocks.x % blocks.y),
                         static_cast<unsigned>(next / blocks.x / blocks.y));
      resident.push_back(make_block(place, shared));
      ++next;
    }
    const std::size_t chosen = random() % resident.size();
    if (!run_turn(*resident[chosen], random)) {
      throw std::logic_error("threads of a block wait for others that do not come");
    }
    if (++idle > most_idle_turns) throw std::logic_error("a kernel does not end");
    if (has_ended(*resident[chosen])) {
      for (Fiber& fiber : resident[chosen]->fibers) {
        gpu.spare_stacks.push_back(std::move(fiber.stack));
      }
      resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
  gpu.running = nullptr;
}

}  // namespace jaxmg::emulated
