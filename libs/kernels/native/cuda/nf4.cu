// Dequantizes NF4 and FP4. Layout and formulas: native/ops/nf4.cpp; the results have the same bits.
#include "kernels.h"

#include "device.h"

namespace graft::cuda {
namespace {

constexpr int kThreads = 256, kEach = 8;  // values per thread

__device__ __forceinline__ float scale_of(const Nf4Numbers& w, int64_t block) {
  if (w.absmax) return w.absmax[block];
  // no fused multiply-add, which would round only once
  return __fadd_rn(__fmul_rn(w.nested_code[w.nested[block]], w.nested_absmax[block / w.nested_blocksize]), w.offset);
}

template <typename T>
__global__ void dequantize(Nf4Numbers w, T* out, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  float* const code = shared_memory<float>();
  if (threadIdx.x == 0)
    for (int i = 0; i < kCodes; i++) code[i] = w.code[i];
  __syncthreads();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kEach + threadIdx.x;
  for (int n = 0; n < kEach; n++) {
    const int64_t i = first + n * kThreads;
    if (i >= rows * columns) return;
    const int64_t at = (row + i / columns) * w.columns + column + i % columns;
    const uint8_t two = w.numbers[at / 2];
    out[i] = narrow<T>(code[at % 2 ? two & 15 : two >> 4] * scale_of(w, at / w.blocksize));
  }
}

}  // namespace

template <typename T>
void nf4_dense(const Nf4Numbers& w, T* out, int64_t row, int64_t rows, int64_t column, int64_t columns, Stream stream) {
  if (rows * columns > 0)
    launch(dequantize<T>, blocks(rows * columns, kThreads * kEach), kThreads, kCodes * sizeof(float), stream, w, out, row,
           rows, column, columns);
}

#define GRAFT_KIND(T) template void nf4_dense<T>(const Nf4Numbers&, T*, int64_t, int64_t, int64_t, int64_t, Stream);
GRAFT_EACH_KIND(GRAFT_KIND)

}  // namespace graft::cuda
