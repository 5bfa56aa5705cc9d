// Interface of the .cu files: launches over plain pointers and sizes on a stream (a cudaStream_t). bf16 is uint16_t.
// Formulas and shapes: native/ops. Tensors are contiguous unless a stride is given. Functions throw std::runtime_error.
#pragma once

#include <cstdint>

namespace graft::cuda {

using Stream = void*;
using Bf16 = uint16_t;

// Whether operators use these kernels on the GPUs present; otherwise they are compositions of libtorch's operators.
bool has_bodies();

template <typename T>
void silu_mul(const T* gate, const T* up, T* y, int64_t count, Stream stream);
template <typename T>
void silu_mul_backward(const T* dy, const T* gate, const T* up, T* dg, T* du, int64_t count, Stream stream);

// x: [rows, heads, size] with row stride x_stride
template <typename T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t rows, int64_t heads, int64_t size, int64_t x_stride,
            float sign, Stream stream);

template <typename T>
void rms_norm(const T* x, const T* weight, T* y, float* rstd, int64_t rows, int64_t size, float eps, Stream stream);
template <typename T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, int64_t rows, int64_t size,
                       Stream stream);
constexpr int64_t kNormRows = 64;  // rows that are summed together
// sums: [⌈rows / kNormRows⌉, size], each of dy ⊙ x r over kNormRows rows
template <typename T>
void rms_norm_weight(const T* dy, const T* x, const float* rstd, float* sums, int64_t rows, int64_t size, Stream stream);

// If scales is null, the logits are unchanged. A label outside the classes has a NaN loss and unchanged logits.
template <typename T>
void cross_entropy(T* logits, const int64_t* labels, const float* scales, float* losses, bool* right, int64_t rows,
                   int64_t classes, Stream stream);

// Attention. Formulas and names: native/ops/attention.cpp.
struct AttentionShape {
  int64_t queries, heads, kv_heads, size;
  int64_t q_stride, kv_stride;  // row strides of q, and of k and v
  int64_t behind, ahead;        // a query at i sees the keys between i - behind and i + ahead, both excluded
  float scale, cap;             // 0 means no cap
  const float* bias;            // entry of distance 0, or place 0, of the first head; or null
  bool bias_by_place;
  int64_t bias_stride, bias_behind;
};

// Some queries of one segment, with the segment's keys.
struct QueryTile {
  int64_t row, rows, place;  // place: position of the first query among the keys
  int64_t key_start, keys, before_start, before;
};

// Rows of keys that the same segments see: sights [first, past).
struct KeyTile {
  int64_t row, rows, first, past;
};
// A segment that sees these keys.
struct Sight {
  // place: position of the first key in the segment; the rest describes the segment's queries
  int64_t place, start, rows, offset;
};

// Rows of a tile that fit the current device. @throws std::runtime_error if none fit
template <typename T>
int64_t attention_rows(int64_t size, bool backward, bool biased);

// `rows`: maximum rows of a tile, a multiple of 16
template <typename T>
void attention(const AttentionShape& shape, int64_t rows, const QueryTile* tiles, int64_t count, const T* q, const T* k,
               const T* v, T* o, float* lse, Stream stream);
// delta: f32 [H, T]
template <typename T>
void attention_delta(const AttentionShape& shape, const T* o, const T* go, float* delta, Stream stream);
// bias_parts: [tiles, H, distances], zeroed, or null
template <typename T>
void attention_queries(const AttentionShape& shape, int64_t rows, const QueryTile* tiles, int64_t count, const T* q,
                       const T* k, const T* v, const T* go, const float* lse, const float* delta, T* dq, float* bias_parts,
                       Stream stream);
template <typename T>
void attention_keys(const AttentionShape& shape, int64_t rows, const KeyTile* tiles, const Sight* sights, int64_t count,
                    const T* q, const T* k, const T* v, const T* go, const float* lse, const float* delta, T* dk, T* dv,
                    Stream stream);

constexpr int kCodes = 16;

// A matrix in NF4 or FP4. Layout: native/ops/nf4.cpp.
struct Nf4Numbers {
  const uint8_t* numbers;
  const float* absmax;  // or, if quantized twice:
  const uint8_t* nested;
  const float *nested_absmax, *nested_code;
  float offset;
  int64_t blocksize, nested_blocksize, columns;
  float code[kCodes];
};

// out: [rows, columns], the part of the matrix that starts at (row, column)
template <typename T>
void nf4_dense(const Nf4Numbers& w, T* out, int64_t row, int64_t rows, int64_t column, int64_t columns, Stream stream);

}  // namespace graft::cuda
