// See device.h.
#include "../kernels.h"

#include "device.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace graft::cuda {
namespace emulated {
namespace {

constexpr size_t kStack = 64 << 10, kMostThreads = 1024, kGuard = 64;
constexpr int kLanes = 32;
constexpr unsigned char kNaN = 0xff;  // two or four of these bytes are a NaN

enum class State { kReady, kAtBlock, kAtWarp, kDone };

struct Thread {
  ucontext_t start;
  jmp_buf place;
  std::unique_ptr<char[]> stack;
  State state;
  bool started;
  dim3 index;
  void* brought;
  unsigned exchanges;
};

struct Warp {
  int waiting;
  float exchange[2][kLanes];  // alternating, because no lane is two exchanges ahead of another
};

std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<unsigned char> memory;
const std::function<void()>* body;
jmp_buf scheduler;
Thread* current;
std::minstd_rand order;
int64_t launched = 0;

[[noreturn]] void leave() {
  _longjmp(scheduler, 1);
}

void wait(State state) {
  Thread* self = current;
  self->state = state;
  if (_setjmp(self->place) == 0) leave();
}

void enter() {
  (*body)();
  current->state = State::kDone;
  leave();
}

void resume(Thread& thread) {
  current = &thread;
  threadIdx = thread.index;
  if (_setjmp(scheduler) != 0) return;
  if (thread.started) _longjmp(thread.place, 1);
  thread.started = true;
  setcontext(&thread.start);
}

void prepare(size_t count, dim3 block) {
  if (count == 0 || count > kMostThreads) throw std::runtime_error("a block of " + std::to_string(count) + " threads");
  if (threads.size() < count) threads.resize(count);
  for (size_t i = 0; i < count; i++) {
    Thread& thread = threads[i];
    if (!thread.stack) thread.stack.reset(new char[kStack]);
    getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = thread.stack.get();
    thread.start.uc_stack.ss_size = kStack;
    thread.start.uc_link = nullptr;
    makecontext(&thread.start, enter, 0);
    thread.state = State::kReady;
    thread.started = false;
    thread.exchanges = 0;
    const unsigned at = static_cast<unsigned>(i);
    thread.index = dim3(at % block.x, at / block.x % block.y, at / block.x / block.y);
  }
  warps.assign((count + kLanes - 1) / kLanes, Warp{});
}

// Runs until all contexts have ended.
void schedule(size_t count) {
  std::vector<size_t> places(count);
  for (size_t i = 0; i < count; i++) places[i] = i;
  for (;;) {
    std::shuffle(places.begin(), places.end(), order);
    bool moved = false;
    for (bool again = true; again;) {
      again = false;
      for (const size_t i : places) {
        if (threads[i].state != State::kReady) continue;
        resume(threads[i]);
        moved = again = true;
      }
    }
    size_t done = 0, waiting = 0;
    for (size_t i = 0; i < count; i++) {
      done += threads[i].state == State::kDone;
      waiting += threads[i].state == State::kAtBlock;
    }
    if (done == count) return;
    if (waiting != count || !moved)
      throw std::runtime_error(std::to_string(waiting) + " threads of " + std::to_string(count) + " are at a barrier, " +
                               std::to_string(done) + " have ended");
    for (size_t i = 0; i < count; i++) threads[i].state = State::kReady;
  }
}

}  // namespace

void run(dim3 grid, dim3 block, size_t shared, const std::function<void()>& kernel) {
  const size_t count = static_cast<size_t>(block.x) * block.y * block.z;
  if (grid.y > 65535 || grid.z > 65535) throw std::runtime_error("a grid of too many blocks");
  if (static_cast<int64_t>(shared) > most_shared())
    throw std::runtime_error(std::to_string(shared) + " bytes of shared memory");
  body = &kernel;
  launched++;
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = dim3(x, y, z);
        memory.assign(shared + kGuard, kNaN);
        prepare(count, block);
        schedule(count);
        for (size_t i = shared; i < memory.size(); i++)
          if (memory[i] != kNaN) throw std::runtime_error("a kernel wrote past its shared memory");
      }
}

void* shared() { return memory.data(); }

int64_t launches() { return launched; }

void block_barrier() { wait(State::kAtBlock); }

void warp_barrier(void* brought, void (*all)(void* const* lanes)) {
  const size_t first = (current - threads.data()) / kLanes * kLanes;
  Warp& warp = warps[first / kLanes];
  current->brought = brought;
  if (++warp.waiting < kLanes) return wait(State::kAtWarp);
  warp.waiting = 0;
  if (all) {
    void* lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = threads[first + i].brought;
    all(lanes);
  }
  for (int i = 0; i < kLanes; i++) threads[first + i].state = State::kReady;
}

float exchanged(float x, int lane) {
  const size_t at = current - threads.data();
  float* values = warps[at / kLanes].exchange[current->exchanges++ % 2];
  values[at % kLanes] = x;
  warp_barrier(nullptr, nullptr);
  return values[lane];
}

}  // namespace emulated

namespace {

struct Fragments {
  float* c;
  const uint32_t *a, *b;
};

float half_of(uint32_t pair, int upper) { return __uint_as_float(upper ? pair & 0xffff0000u : pair << 16); }

// "Matrix Fragments for mma.m16n8k16" of the PTX ISA: lane l has rows l / 4 and l / 4 + 8, and columns in pairs at l % 4.
void multiply(void* const* lanes) {
  float a[16][16], b[8][16];
  for (int l = 0; l < 32; l++) {
    const auto& f = *static_cast<const Fragments*>(lanes[l]);
    const int g = l / 4, t = l % 4 * 2;
    for (int e = 0; e < 2; e++) {
      a[g][t + e] = half_of(f.a[0], e);
      a[g + 8][t + e] = half_of(f.a[1], e);
      a[g][t + 8 + e] = half_of(f.a[2], e);
      a[g + 8][t + 8 + e] = half_of(f.a[3], e);
      b[g][t + e] = half_of(f.b[0], e);
      b[g][t + 8 + e] = half_of(f.b[1], e);
    }
  }
  for (int l = 0; l < 32; l++) {
    const auto& f = *static_cast<const Fragments*>(lanes[l]);
    for (int i = 0; i < 4; i++) {
      const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
      float sum = 0;
      for (int k = 0; k < 16; k++) sum += a[row][k] * b[column][k];
      f.c[i] += sum;
    }
  }
}

}  // namespace

void multiply_fragments(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Fragments mine{c, a, b};
  emulated::warp_barrier(&mine, multiply);
}

}  // namespace graft::cuda
