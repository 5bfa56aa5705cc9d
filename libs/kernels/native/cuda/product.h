// Product of small matrices by a warp: c [16, 8 N] += a [16, size] b [8 N, size]ᵀ. a and b are in shared memory with
// row stride `width`; size is a multiple of 16. Lane l holds rows l / 4 and l / 4 + 8 of c and, of every eight columns,
// those at 2 (l % 4), as in mma.m16n8k16.
#pragma once

#include "device.h"

namespace graft::cuda {

template <int N>
__device__ __forceinline__ void product(float (&c)[N][4], const float* a, int a_width, const float* b, int b_width,
                                        int size) {
  a += lane() / 4 * a_width;
  b += lane() % 4 * 2 * b_width;
  for (int k = 0; k < size; k++) {
    const float upper = a[k], lower = a[8 * a_width + k];
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float left = b[8 * n * b_width + k], right = b[(8 * n + 1) * b_width + k];
      c[n][0] += upper * left;
      c[n][1] += upper * right;
      c[n][2] += lower * left;
      c[n][3] += lower * right;
    }
  }
}

__device__ __forceinline__ uint32_t pair(const Bf16* from) { return *reinterpret_cast<const uint32_t*>(from); }

template <int N>
__device__ __forceinline__ void product(float (&c)[N][4], const Bf16* a, int a_width, const Bf16* b, int b_width,
                                        int size) {
  a += lane() / 4 * a_width + lane() % 4 * 2;
  b += lane() / 4 * b_width + lane() % 4 * 2;
  for (int k = 0; k < size; k += 16) {
    const uint32_t rows[4] = {pair(a + k), pair(a + 8 * a_width + k), pair(a + k + 8), pair(a + 8 * a_width + k + 8)};
#pragma unroll
    for (int n = 0; n < N; n++) {
      const uint32_t columns[2] = {pair(b + 8 * n * b_width + k), pair(b + 8 * n * b_width + k + 8)};
      multiply_fragments(c[n], rows, columns);
    }
  }
}

}  // namespace graft::cuda
