// Kernels with one fault each, which the test must detect.
#include "../kernels.h"

#include "../device.h"
#include "faults.h"

namespace graft::cuda::emulated {
namespace {

constexpr int kThreads = 64;

// Each thread reads the value that its neighbor writes.
void neighbours(bool waits, bool* wrong) {
  float* const values = shared_memory<float>();
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (waits) __syncthreads();
  const unsigned next = (threadIdx.x + 1) % kThreads;
  if (values[next] != static_cast<float>(next)) *wrong = true;
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
