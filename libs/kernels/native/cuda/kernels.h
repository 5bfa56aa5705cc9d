// What the .cu files offer: launches over plain pointers and sizes on a stream (a cudaStream_t). bf16 is uint16_t.
// Formulas and shapes: native/ops. Tensors are contiguous, unless there is a stride. They throw std::runtime_error.
#pragma once

#include <cstdint>

namespace graft::cuda {

using Stream = void*;
using Bf16 = uint16_t;

template <typename T>
void silu_mul(const T* gate, const T* up, T* y, int64_t count, Stream stream);
template <typename T>
void silu_mul_backward(const T* dy, const T* gate, const T* up, T* dg, T* du, int64_t count, Stream stream);

// x: [rows, heads, size], its rows x_stride apart
template <typename T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t rows, int64_t heads, int64_t size, int64_t x_stride,
            float sign, Stream stream);

template <typename T>
void rms_norm(const T* x, const T* weight, T* y, float* rstd, int64_t rows, int64_t size, float eps, Stream stream);
template <typename T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, int64_t rows, int64_t size,
                       Stream stream);
constexpr int64_t kNormRows = 64;  // that are summed together
// sums: [⌈rows / kNormRows⌉, size], of dy ⊙ x r over so many rows each
template <typename T>
void rms_norm_weight(const T* dy, const T* x, const float* rstd, float* sums, int64_t rows, int64_t size, Stream stream);

// scales may be null: then the logits stay. A label that is no class has a loss of NaN, and its logits stay.
template <typename T>
void cross_entropy(T* logits, const int64_t* labels, const float* scales, float* losses, bool* right, int64_t rows,
                   int64_t classes, Stream stream);

}  // namespace graft::cuda
