// Included first by every .cu file. nvcc compiles these files for a GPU; a C++ compiler compiles them over
// emulated/device.h for tests.
#pragma once

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace graft::cuda {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// All shared memory is allocated at launch.
template <typename T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char graft_shared[];
  return reinterpret_cast<T*>(graft_shared);
}

// A kernel must request more than 48 KB of shared memory explicitly.
template <typename Kernel, typename... Arguments>
void launch(Kernel* kernel, dim3 grid, dim3 block, size_t shared, Stream stream, Arguments... arguments) {
  if (shared > 48 << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  kernel<<<grid, block, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
  check(cudaGetLastError());
}

// Bytes of shared memory available to a block on the current device.
inline int64_t most_shared() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

// c [16, 8] += a [16, 16] b [8, 16]ᵀ over a warp, in the fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments")
__device__ __forceinline__ void multiply_fragments(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace graft::cuda

#else
#include "emulated/device.h"
#endif

namespace graft::cuda {

constexpr int kWarp = 32;

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(Bf16 x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }

template <typename T>
__device__ __forceinline__ T narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
  return x;
}
// Rounds to nearest, ties to even; NaN stays NaN.
template <>
__device__ __forceinline__ Bf16 narrow<Bf16>(float x) {
  const uint32_t bits = __float_as_uint(x);
  return static_cast<Bf16>(x != x ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ int lane() { return threadIdx.x % kWarp; }
__device__ __forceinline__ int warp() { return threadIdx.x / kWarp; }

struct Sum {
  static __device__ __forceinline__ float of(float a, float b) { return a + b; }
  static __device__ __forceinline__ float none() { return 0.0f; }
};
struct Largest {  // if one operand is NaN, the other one
  static __device__ __forceinline__ float of(float a, float b) { return fmaxf(a, b); }
  static __device__ __forceinline__ float none() { return -INFINITY; }
};

// Reduces over `lanes` neighbors, a power of two.
template <typename Op>
__device__ __forceinline__ float over_lanes(float x, int lanes = kWarp) {
  for (int step = lanes / 2; step > 0; step /= 2) x = Op::of(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

// Reduces over the block. scratch: one float per warp, unused before and after.
template <typename Op>
__device__ __forceinline__ float over_block(float x, float* scratch) {
  x = over_lanes<Op>(x);
  __syncthreads();
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  return over_lanes<Op>(threadIdx.x % kWarp < blockDim.x / kWarp ? scratch[lane()] : Op::none());
}

inline unsigned blocks(int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); }

// Calls KIND(T) for the two supported element types.
#define GRAFT_EACH_KIND(KIND) KIND(float) KIND(Bf16)

}  // namespace graft::cuda
