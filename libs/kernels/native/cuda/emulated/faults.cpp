// Kernels with a fault each: what a test expects to be found out.
#include "../kernels.h"

#include "../device.h"
#include "faults.h"

namespace graft::cuda::emulated {
namespace {

constexpr int kThreads = 64;

// Each thread reads what its neighbour writes.
void neighbours(bool waits, bool* wrong) {
  float* const room = shared_memory<float>();
  room[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (waits) __syncthreads();
  const unsigned next = (threadIdx.x + 1) % kThreads;
  if (room[next] != static_cast<float>(next)) *wrong = true;
}

void half_waits() {
  if (threadIdx.x < kThreads / 2) __syncthreads();
}

void writes_past() { shared_memory<float>()[kThreads + threadIdx.x % 4] = 1; }

}  // namespace

bool is_wrong(bool waits) {
  bool wrong = false;
  launch(neighbours, 1, kThreads, kThreads * sizeof(float), nullptr, waits, &wrong);
  return wrong;
}

void run_half_waits() { launch(half_waits, 1, kThreads, 0, nullptr); }
void run_writes_past() { launch(writes_past, 1, kThreads, kThreads * sizeof(float), nullptr); }

}  // namespace graft::cuda::emulated
