// Tiles of attention in shared memory: loading, storing and scoring rows. The kernels are in attention.cu.
#pragma once

#include "kernels.h"

#include "device.h"

namespace graft::cuda {
namespace {

constexpr int kStep = 32;  // keys (or queries) that a tile processes per step

template <typename T>
constexpr int kPad = 16 / sizeof(T);  // padding that avoids bank conflicts between rows

template <typename T>
__host__ __device__ int row_width(int64_t size) {
  return static_cast<int>((size + 15) / 16 * 16) + kPad<T>;
}
template <typename T>
constexpr int kStepWidth = kStep + kPad<T>;

// Tile in shared memory: rows of `tiles` matrices, the rows they are multiplied by, weights, and bias sums.
template <typename T, int D>
struct TileLayout {
  int rows, width;

  __host__ __device__ TileLayout(int warps, int64_t size) : rows(16 * warps), width(row_width<T>(size)) {}
  __host__ __device__ int tile() const { return rows * width; }
  __host__ __device__ int met() const {
    const int along = kStep * width, across = D * kStepWidth<T>;
    return along > across ? along : across;
  }
  __host__ __device__ int weights() const { return rows * kStepWidth<T>; }
  __host__ __device__ size_t bytes(int tiles, bool biased) const {
    return (tiles * tile() + met() + weights()) * sizeof(T) + (biased ? rows * kStep * sizeof(float) : 0);
  }
};

// Copies the rows that from(r) points to into [rows, width]; a null pointer gives zeros.
template <typename T, typename From>
__device__ __forceinline__ void load(T* to, int width, int rows, int64_t size, const From& from) {
  for (int r = warp(); r < rows; r += blockDim.x / kWarp) {
    const T* row = from(r);
    for (int c = lane(); c < width; c += kWarp) to[r * width + c] = row && c < size ? row[c] : T{};
  }
}

// Copies the columns of the same rows from `first` on into [D, kStep].
template <int D, typename T, typename From>
__device__ __forceinline__ void load_across(T* to, int64_t first, int64_t size, const From& from) {
  for (int r = warp(); r < kStep; r += blockDim.x / kWarp) {
    const T* row = from(r);
    for (int c = lane(); c < D; c += kWarp) to[c * kStepWidth<T> + r] = row && first + c < size ? row[first + c] : T{};
  }
}

// Row and column of element `i` of a lane's fragment, in the n-th group of eight columns.
__device__ __forceinline__ int row_of(int i) { return lane() / 4 + i / 2 * 8; }
__device__ __forceinline__ int column_of(int n, int i) { return 8 * n + lane() % 4 * 2 + i % 2; }

struct Score {
  float value, slope;  // slope: derivative of the value with respect to the uncapped score
};

struct Scoring {
  const AttentionShape& s;
  const float* bias;  // of this head

  __device__ Scoring(const AttentionShape& shape, int64_t head)
      : s(shape), bias(shape.bias ? shape.bias + head * shape.bias_stride : nullptr) {}

  __device__ bool sees(int64_t place, int64_t key) const { return key > place - s.behind && key < place + s.ahead; }
  __device__ Score of(float product, int64_t place, int64_t key) const {
    if (s.cap > 0) {
      const float y = tanhf(product * (s.scale / s.cap));
      return {y * s.cap, 1.0f - y * y};
    }
    if (!bias) return {product * s.scale, 1.0f};
    return {product * s.scale + bias[s.bias_by_place ? key : key - place], 1.0f};
  }
};

__device__ __forceinline__ int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
__device__ __forceinline__ int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

__device__ __forceinline__ int64_t first_key(const AttentionShape& s, const QueryTile& t) {
  return most(0, t.place - s.behind + 1);
}
__device__ __forceinline__ int64_t past_key(const AttentionShape& s, const QueryTile& t) {
  return least(t.keys, t.place + t.rows - 1 + s.ahead);
}

// Rows of keys or values from index `at` of the tile.
template <typename T>
struct Keys {
  const AttentionShape& s;
  const QueryTile& t;
  const T* base;
  int64_t at;

  __device__ const T* operator()(int r) const {
    const int64_t j = at + r;
    if (j >= t.keys) return nullptr;
    return base + (j < t.before ? t.before_start + j : t.key_start + j - t.before) * s.kv_stride;
  }
};

// Rows of a tile, or of queries.
template <typename T>
struct Rows {
  const T* base;
  int64_t count, stride;

  __device__ const T* operator()(int r) const { return r < count ? base + r * stride : nullptr; }
};

template <typename T, int D>
__device__ void write(const float (&sums)[D / 8][4], T* to, int64_t stride, int64_t rows, int64_t first, int64_t size,
                      const float (&factor)[2]) {
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int64_t r = 16 * warp() + row_of(i), c = first + column_of(n, i);
      if (r < rows && c < size) to[r * stride + c] = narrow<T>(sums[n][i] * factor[i / 2]);
    }
}

}  // namespace
}  // namespace graft::cuda
