// The gate and rotary positions: one thread per element, or per pair. Formulas: native/ops/gate.cpp, rotary.cpp.
#include "kernels.h"

#include "device.h"

namespace graft::cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t place() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <typename T>
__global__ void gate_forward(const T* gate, const T* up, T* y, int64_t count) {
  const int64_t i = place();
  if (i >= count) return;
  const float g = wide(gate[i]);
  y[i] = narrow<T>(g * sigmoid(g) * wide(up[i]));
}

template <typename T>
__global__ void gate_backward(const T* dy, const T* gate, const T* up, T* dg, T* du, int64_t count) {
  const int64_t i = place();
  if (i >= count) return;
  const float g = wide(gate[i]), d = wide(dy[i]), s = sigmoid(g);
  dg[i] = narrow<T>(d * wide(up[i]) * s * (1.0f + g * (1.0f - s)));
  du[i] = narrow<T>(d * g * s);
}

template <typename T>
__global__ void rotate_pairs(const T* x, const T* cos, const T* sin, T* y, int64_t pairs, int64_t heads, int64_t half,
                             int64_t x_stride, float sign) {
  const int64_t i = place();
  if (i >= pairs) return;
  const int64_t c = i % half, head = i / half % heads, row = i / half / heads;
  const T* from = x + row * x_stride + head * 2 * half + c;
  T* to = y + (row * heads + head) * 2 * half + c;
  cos += row * 2 * half + c;
  sin += row * 2 * half + c;
  const float a = wide(from[0]), b = wide(from[half]);
  to[0] = narrow<T>(a * wide(cos[0]) + b * wide(sin[0]) * sign);
  to[half] = narrow<T>(b * wide(cos[half]) + a * wide(sin[half]) * sign);
}

}  // namespace

template <typename T>
void silu_mul(const T* gate, const T* up, T* y, int64_t count, Stream stream) {
  if (count > 0) launch(gate_forward<T>, blocks(count, kThreads), kThreads, 0, stream, gate, up, y, count);
}

template <typename T>
void silu_mul_backward(const T* dy, const T* gate, const T* up, T* dg, T* du, int64_t count, Stream stream) {
  if (count > 0) launch(gate_backward<T>, blocks(count, kThreads), kThreads, 0, stream, dy, gate, up, dg, du, count);
}

template <typename T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t rows, int64_t heads, int64_t size, int64_t x_stride,
            float sign, Stream stream) {
  const int64_t pairs = rows * heads * size / 2;
  if (pairs == 0) return;
  launch(rotate_pairs<T>, blocks(pairs, kThreads), kThreads, 0, stream, x, cos, sin, y, pairs, heads, size / 2, x_stride,
         sign);
}

#define GRAFT_KIND(T)                                                                              \
  template void silu_mul<T>(const T*, const T*, T*, int64_t, Stream);                              \
  template void silu_mul_backward<T>(const T*, const T*, const T*, T*, T*, int64_t, Stream);       \
  template void rotate<T>(const T*, const T*, const T*, T*, int64_t, int64_t, int64_t, int64_t, float, Stream);
GRAFT_EACH_KIND(GRAFT_KIND)

}  // namespace graft::cuda
