// RMSNorm: one block per row; for the weight gradient, one thread per column. Formulas: native/ops/norm.cpp.
#include "kernels.h"

#include "device.h"

namespace graft::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kRoom = kThreads / 32 * sizeof(float);

template <typename T>
__global__ void norm_rows(const T* x, const T* weight, T* y, float* rstd, int64_t size, float eps) {
  const int64_t row = blockIdx.x;
  x += row * size;
  y += row * size;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < size; c += blockDim.x) {
    const float v = wide(x[c]);
    squares += v * v;
  }
  const float r = 1.0f / sqrtf(over_block<Sum>(squares, shared_memory<float>()) / size + eps);
  if (threadIdx.x == 0) rstd[row] = r;
  for (int64_t c = threadIdx.x; c < size; c += blockDim.x) {
    const T normed = narrow<T>(wide(x[c]) * r);
    y[c] = weight ? narrow<T>(wide(normed) * wide(weight[c])) : normed;
  }
}

template <typename T>
__global__ void norm_rows_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, int64_t size) {
  const int64_t row = blockIdx.x;
  dy += row * size;
  x += row * size;
  dx += row * size;
  const float r = rstd[row];
  float inner = 0;
  for (int64_t c = threadIdx.x; c < size; c += blockDim.x) {
    const float g = wide(dy[c]) * (weight ? wide(weight[c]) : 1.0f);
    inner += g * (wide(x[c]) * r);
  }
  const float mean = over_block<Sum>(inner, shared_memory<float>()) / size;
  for (int64_t c = threadIdx.x; c < size; c += blockDim.x) {
    const float g = wide(dy[c]) * (weight ? wide(weight[c]) : 1.0f);
    dx[c] = narrow<T>((g - wide(x[c]) * (r * mean)) * r);
  }
}

template <typename T>
__global__ void norm_weight(const T* dy, const T* x, const float* rstd, float* sums, int64_t rows, int64_t size) {
  const int64_t chunk = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (c >= size) return;
  const int64_t first = chunk * kNormRows, past = first + kNormRows < rows ? first + kNormRows : rows;
  float sum = 0;
  for (int64_t row = first; row < past; row++) sum += wide(dy[row * size + c]) * (wide(x[row * size + c]) * rstd[row]);
  sums[chunk * size + c] = sum;
}

}  // namespace

template <typename T>
void rms_norm(const T* x, const T* weight, T* y, float* rstd, int64_t rows, int64_t size, float eps, Stream stream) {
  if (rows > 0) launch(norm_rows<T>, blocks(rows, 1), kThreads, kRoom, stream, x, weight, y, rstd, size, eps);
}

template <typename T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, int64_t rows, int64_t size,
                       Stream stream) {
  if (rows > 0) launch(norm_rows_backward<T>, blocks(rows, 1), kThreads, kRoom, stream, dy, x, weight, rstd, dx, size);
}

template <typename T>
void rms_norm_weight(const T* dy, const T* x, const float* rstd, float* sums, int64_t rows, int64_t size, Stream stream) {
  if (rows == 0) return;
  const dim3 grid(blocks(rows, kNormRows), blocks(size, kThreads));
  launch(norm_weight<T>, grid, kThreads, 0, stream, dy, x, rstd, sums, rows, size);
}

#define GRAFT_KIND(T)                                                                                              \
  template void rms_norm<T>(const T*, const T*, T*, float*, int64_t, int64_t, float, Stream);                      \
  template void rms_norm_backward<T>(const T*, const T*, const T*, const float*, T*, int64_t, int64_t, Stream);    \
  template void rms_norm_weight<T>(const T*, const T*, const float*, float*, int64_t, int64_t, Stream);
GRAFT_EACH_KIND(GRAFT_KIND)

}  // namespace graft::cuda
