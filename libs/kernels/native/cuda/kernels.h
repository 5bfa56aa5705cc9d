// What the .cu files offer: launches over plain pointers and sizes on a stream (a cudaStream_t). bf16 is uint16_t.
// Formulas and shapes: native/ops. Tensors are contiguous, unless there is a stride. They throw std::runtime_error.
#pragma once

#include <cstdint>

namespace graft::cuda {

using Stream = void*;
using Bf16 = uint16_t;

// Whether operators have these on the cards that are here; else they are compositions of libtorch's.
bool has_bodies();

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

// Attention: native/ops/attention.cpp has the formulas and the names.
struct AttentionShape {
  int64_t queries, heads, kv_heads, size;
  int64_t q_stride, kv_stride;  // of rows of q; of k and v
  int64_t behind, ahead;        // a query at i sees the keys between i - behind and i + ahead, both excluded
  float scale, cap;             // no cap: 0
  const float* bias;            // of distance 0, or place 0, and the first head, or none
  bool bias_by_place;
  int64_t bias_stride, bias_behind;
};

// Some queries of one segment and the keys that it has.
struct QueryTile {
  int64_t row, rows, place;  // place: of the first of them, among the keys
  int64_t key_start, keys, before_start, before;
};

// Rows of keys that the same segments have, sights [first, past).
struct KeyTile {
  int64_t row, rows, first, past;
};
// A segment that has these keys.
struct Sight {
  int64_t place, start, rows, offset;  // place: of the first key among the segment's; the segment's queries
};

// Rows of a tile that fit the current device. @throws std::runtime_error where none do
template <typename T>
int64_t attention_rows(int64_t size, bool backward, bool biased);

// `rows`: of a tile at most, a multiple of 16
template <typename T>
void attention(const AttentionShape& shape, int64_t rows, const QueryTile* tiles, int64_t count, const T* q, const T* k,
               const T* v, T* o, float* lse, Stream stream);
// delta: f32 [H, T]
template <typename T>
void attention_delta(const AttentionShape& shape, const T* o, const T* go, float* delta, Stream stream);
// bias_parts: [tiles, H, distances], of zeros, or null
template <typename T>
void attention_queries(const AttentionShape& shape, int64_t rows, const QueryTile* tiles, int64_t count, const T* q,
                       const T* k, const T* v, const T* go, const float* lse, const float* delta, T* dq, float* bias_parts,
                       Stream stream);
template <typename T>
void attention_keys(const AttentionShape& shape, int64_t rows, const KeyTile* tiles, const Sight* sights, int64_t count,
                    const T* q, const T* k, const T* v, const T* go, const float* lse, const float* delta, T* dk, T* dv,
                    Stream stream);

constexpr int kCodes = 16;

// A matrix in NF4 or FP4: native/ops/nf4.cpp has the layout.
struct Nf4Numbers {
  const uint8_t* numbers;
  const float* absmax;  // or, twice quantised:
  const uint8_t* nested;
  const float *nested_absmax, *nested_code;
  float offset;
  int64_t blocksize, nested_blocksize, columns;
  float code[kCodes];
};

// out: [rows, columns], the part of the matrix that begins at (row, column)
template <typename T>
void nf4_dense(const Nf4Numbers& w, T* out, int64_t row, int64_t rows, int64_t column, int64_t columns, Stream stream);

}  // namespace graft::cuda
