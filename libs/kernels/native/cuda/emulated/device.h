// The part of CUDA that the .cu files use, on one CPU thread, so that results can be tested without a GPU. Each thread
// of a block is a context; blocks run in sequence. After each barrier, contexts continue in a new random order. Shared
// memory starts as NaN and its end is guarded. A barrier that some threads do not reach is an error. This shows neither
// that a kernel runs on a GPU, nor its speed.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace graft::cuda {

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

void run(dim3 grid, dim3 block, size_t shared, const std::function<void()>& kernel);
void* shared();
int64_t launches();  // number of launches so far
void block_barrier();
// Waits for the warp. The last lane to arrive calls `all` with the values of all lanes.
void warp_barrier(void* brought, void (*all)(void* const* lanes));
// Value of a lane in an exchange of the warp.
float exchanged(float x, int lane);

}  // namespace emulated

template <typename T>
T* shared_memory() {
  return static_cast<T*>(emulated::shared());
}

template <typename Kernel, typename... Arguments>
void launch(Kernel* kernel, dim3 grid, dim3 block, size_t shared, Stream, Arguments... arguments) {
  emulated::run(grid, block, shared, [&] { kernel(arguments...); });
}

inline int64_t most_shared() { return 99 << 10; }  // of compute capability 8.6, 8.9 and 12.0, which have the least

inline void __syncthreads() { emulated::block_barrier(); }
inline void __syncwarp() { emulated::warp_barrier(nullptr, nullptr); }
inline float __shfl_xor_sync(unsigned, float x, int step) {
  return emulated::exchanged(x, static_cast<int>(threadIdx.x % 32) ^ step);
}

inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

void multiply_fragments(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace graft::cuda
