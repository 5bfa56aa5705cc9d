// Attention over a packed batch. Formulas and segments: native/ops/attention.cpp.
//
// In the forward pass and for dq, a block owns a tile of queries of one segment and head, and iterates over the keys
// that they see. For dk and dv, a block owns a tile of keys and iterates over all queries that see them, of every
// segment and head, in order. So each result is written by one block, and only the bias gradient is summed afterwards.
// A warp has 16 rows of the tile. Softmax is online (arXiv:1805.02867, arXiv:2205.14135). P and dS are rounded to bf16
// before they are multiplied, as on the CPU. Heads wider than a block's columns use several blocks, which share no
// work.
#include "kernels.h"

#include "attention_tiles.h"
#include "device.h"
#include "product.h"

namespace graft::cuda {
namespace {

template <typename T, int D>
__global__ void __launch_bounds__(128) attend(AttentionShape s, const QueryTile* tiles, const T* q, const T* k, const T* v,
                                              T* o, float* lse) {
  const QueryTile tile = tiles[blockIdx.x];
  const int64_t head = blockIdx.y, kv = head / (s.heads / s.kv_heads), first = blockIdx.z * D;
  const TileLayout<T, D> layout(blockDim.x / kWarp, s.size);
  const Scoring scoring(s, head);
  T* const mine = shared_memory<T>();
  T* const met = mine + layout.tile();
  T* const weights = met + layout.met();
  T* const my_weights = weights + 16 * warp() * kStepWidth<T>;
  load(mine, layout.width, layout.rows, s.size, Rows<T>{q + tile.row * s.q_stride + head * s.size, tile.rows, s.q_stride});
  float sums[D / 8][4] = {}, highest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  for (int64_t at = first_key(s, tile); at < past_key(s, tile); at += kStep) {
    __syncthreads();
    load(met, layout.width, kStep, s.size, Keys<T>{s, tile, k + kv * s.size, at});
    __syncthreads();
    float p[kStep / 8][4] = {};
    product(p, mine + 16 * warp() * layout.width, layout.width, met, layout.width, layout.width - kPad<T>);
    float top[2] = {highest[0], highest[1]};
#pragma unroll
    for (int n = 0; n < kStep / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int64_t place = tile.place + 16 * warp() + row_of(i), key = at + column_of(n, i);
        const bool seen = key < tile.keys && 16 * warp() + row_of(i) < tile.rows && scoring.sees(place, key);
        p[n][i] = seen ? scoring.of(p[n][i], place, key).value : -INFINITY;
        top[i / 2] = fmaxf(top[i / 2], p[n][i]);
      }
    float base[2], factor[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      top[h] = over_lanes<Largest>(top[h], 4);
      base[h] = top[h] == -INFINITY ? 0.0f : top[h];
      factor[h] = expf(highest[h] - base[h]);
      highest[h] = top[h];
      total[h] *= factor[h];
    }
#pragma unroll
    for (int n = 0; n < kStep / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float e = expf(p[n][i] - base[i / 2]);
        total[i / 2] += e;
        my_weights[row_of(i) * kStepWidth<T> + column_of(n, i)] = narrow<T>(e);
      }
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[n][i] *= factor[i / 2];
    __syncthreads();
    load_across<D>(met, first, s.size, Keys<T>{s, tile, v + kv * s.size, at});
    __syncthreads();
    product(sums, my_weights, kStepWidth<T>, met, kStepWidth<T>, kStep);
  }
  float factor[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    total[h] = over_lanes<Sum>(total[h], 4);
    factor[h] = 1.0f / total[h];
    const int64_t r = 16 * warp() + row_of(2 * h);
    if (first == 0 && lane() % 4 == 0 && r < tile.rows)
      lse[head * s.queries + tile.row + r] = highest[h] + logf(total[h]);
  }
  write<T, D>(sums, o + tile.row * s.heads * s.size + head * s.size, s.heads * s.size, tile.rows, first, s.size, factor);
}

// delta [H, T]: o · do, one warp per row of a head
template <typename T>
__global__ void inner_products(AttentionShape s, const T* o, const T* go, float* delta) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + warp();
  if (i >= s.queries * s.heads) return;
  float sum = 0;
  for (int64_t c = lane(); c < s.size; c += kWarp) sum += wide(o[i * s.size + c]) * wide(go[i * s.size + c]);
  sum = over_lanes<Sum>(sum);
  if (lane() == 0) delta[i % s.heads * s.queries + i / s.heads] = sum;
}

// Sums of dS along its diagonals, added to this block's part of the bias gradient. ds: [rows, kStep]
__device__ void add_diagonals(const AttentionShape& s, const QueryTile& tile, int64_t at, const float* ds, int rows,
                              float* part) {
  for (int n = threadIdx.x; n < rows + kStep - 1; n += blockDim.x) {
    const int64_t place = s.bias_behind + at - tile.place + n - (rows - 1);
    if (place < 0 || place >= s.bias_stride) continue;
    float sum = 0;
    for (int r = 0; r < rows; r++) {
      const int c = n - (rows - 1) + r;
      if (c >= 0 && c < kStep) sum += ds[r * kStep + c];
    }
    part[place] += sum;
  }
}

template <typename T, int D>
__global__ void __launch_bounds__(128) attend_back_queries(AttentionShape s, const QueryTile* tiles, const T* q, const T* k,
                                                           const T* v, const T* go, const float* lse, const float* delta,
                                                           T* dq, float* bias_parts) {
  const QueryTile tile = tiles[blockIdx.x];
  const int64_t head = blockIdx.y, kv = head / (s.heads / s.kv_heads), first = blockIdx.z * D, all = s.heads * s.size;
  const TileLayout<T, D> layout(blockDim.x / kWarp, s.size);
  const Scoring scoring(s, head);
  T* const mine = shared_memory<T>();
  T* const gradients = mine + layout.tile();
  T* const met = gradients + layout.tile();
  T* const my_weights = met + layout.met() + 16 * warp() * kStepWidth<T>;
  float* const ds = reinterpret_cast<float*>(met + layout.met() + layout.weights());
  const bool biased = bias_parts && first == 0;
  float* const part = biased ? bias_parts + (blockIdx.x * s.heads + head) * s.bias_stride : nullptr;
  load(mine, layout.width, layout.rows, s.size, Rows<T>{q + tile.row * s.q_stride + head * s.size, tile.rows, s.q_stride});
  load(gradients, layout.width, layout.rows, s.size, Rows<T>{go + tile.row * all + head * s.size, tile.rows, all});
  float sums[D / 8][4] = {}, row_lse[2] = {}, row_delta[2] = {};
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int64_t r = 16 * warp() + row_of(2 * h);
    if (r >= tile.rows) continue;
    row_lse[h] = lse[head * s.queries + tile.row + r];
    row_delta[h] = delta[head * s.queries + tile.row + r];
  }
  for (int64_t at = first_key(s, tile); at < past_key(s, tile); at += kStep) {
    __syncthreads();
    load(met, layout.width, kStep, s.size, Keys<T>{s, tile, k + kv * s.size, at});
    __syncthreads();
    float p[kStep / 8][4] = {}, dp[kStep / 8][4] = {};
    product(p, mine + 16 * warp() * layout.width, layout.width, met, layout.width, layout.width - kPad<T>);
    __syncthreads();
    load(met, layout.width, kStep, s.size, Keys<T>{s, tile, v + kv * s.size, at});
    __syncthreads();
    product(dp, gradients + 16 * warp() * layout.width, layout.width, met, layout.width, layout.width - kPad<T>);
#pragma unroll
    for (int n = 0; n < kStep / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int64_t r = 16 * warp() + row_of(i), place = tile.place + r, key = at + column_of(n, i);
        float d = 0;
        if (key < tile.keys && r < tile.rows && scoring.sees(place, key)) {
          const Score score = scoring.of(p[n][i], place, key);
          d = expf(score.value - row_lse[i / 2]) * (dp[n][i] - row_delta[i / 2]) * score.slope;
        }
        my_weights[row_of(i) * kStepWidth<T> + column_of(n, i)] = narrow<T>(d * s.scale);
        if (biased) ds[r * kStep + column_of(n, i)] = d;
      }
    __syncthreads();
    load_across<D>(met, first, s.size, Keys<T>{s, tile, k + kv * s.size, at});
    if (biased) add_diagonals(s, tile, at, ds, layout.rows, part);
    __syncthreads();
    product(sums, my_weights, kStepWidth<T>, met, kStepWidth<T>, kStep);
  }
  const float factor[2] = {1.0f, 1.0f};
  write<T, D>(sums, dq + tile.row * all + head * s.size, all, tile.rows, first, s.size, factor);
}

template <typename T, int D>
__global__ void __launch_bounds__(128) attend_back_keys(AttentionShape s, const KeyTile* tiles, const Sight* sights,
                                                        const T* q, const T* k, const T* v, const T* go, const float* lse,
                                                        const float* delta, T* dk, T* dv) {
  const KeyTile tile = tiles[blockIdx.x];
  const int64_t kv = blockIdx.y, first = blockIdx.z * D, all = s.heads * s.size, group = s.heads / s.kv_heads;
  const TileLayout<T, D> layout(blockDim.x / kWarp, s.size);
  T* const keys = shared_memory<T>();
  T* const values = keys + layout.tile();
  T* const met = values + layout.tile();
  T* const my_weights = met + layout.met() + 16 * warp() * kStepWidth<T>;
  const int64_t start = tile.row * s.kv_stride + kv * s.size;
  load(keys, layout.width, layout.rows, s.size, Rows<T>{k + start, tile.rows, s.kv_stride});
  load(values, layout.width, layout.rows, s.size, Rows<T>{v + start, tile.rows, s.kv_stride});
  float key_sums[D / 8][4] = {}, value_sums[D / 8][4] = {};
  for (int64_t n = tile.first; n < tile.past; n++) {
    const Sight sight = sights[n];
    // queries of the segment that may see one of these keys
    const int64_t from = most(0, sight.place - s.ahead + 1 - sight.offset);
    const int64_t past = least(sight.rows, sight.place + tile.rows - 1 + s.behind - sight.offset);
    for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
      const Scoring scoring(s, head);
      for (int64_t at = from; at < past; at += kStep) {
        const int64_t row = sight.start + at;
        const Rows<T> queries{q + row * s.q_stride + head * s.size, past - at, s.q_stride};
        const Rows<T> gradients{go + row * all + head * s.size, past - at, all};
        __syncthreads();
        load(met, layout.width, kStep, s.size, queries);
        __syncthreads();
        float p[kStep / 8][4] = {}, dp[kStep / 8][4] = {};
        product(p, keys + 16 * warp() * layout.width, layout.width, met, layout.width, layout.width - kPad<T>);
        __syncthreads();
        load(met, layout.width, kStep, s.size, gradients);
        __syncthreads();
        product(dp, values + 16 * warp() * layout.width, layout.width, met, layout.width, layout.width - kPad<T>);
#pragma unroll
        for (int m = 0; m < kStep / 8; m++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const int64_t r = 16 * warp() + row_of(i), query = at + column_of(m, i);
            const int64_t place = sight.offset + query, key = sight.place + r, it = head * s.queries + sight.start + query;
            float e = 0;
            if (r < tile.rows && query < past && scoring.sees(place, key)) {
              const Score score = scoring.of(p[m][i], place, key);
              e = expf(score.value - lse[it]);
              dp[m][i] = e * (dp[m][i] - delta[it]) * score.slope * s.scale;
            } else {
              dp[m][i] = 0;
            }
            my_weights[row_of(i) * kStepWidth<T> + column_of(m, i)] = narrow<T>(e);
          }
        __syncthreads();
        load_across<D>(met, first, s.size, gradients);
        __syncthreads();
        product(value_sums, my_weights, kStepWidth<T>, met, kStepWidth<T>, kStep);
        __syncthreads();
#pragma unroll
        for (int m = 0; m < kStep / 8; m++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            my_weights[row_of(i) * kStepWidth<T> + column_of(m, i)] = narrow<T>(dp[m][i]);
        load_across<D>(met, first, s.size, queries);
        __syncthreads();
        product(key_sums, my_weights, kStepWidth<T>, met, kStepWidth<T>, kStep);
      }
    }
  }
  const int64_t stride = s.kv_heads * s.size, place = tile.row * stride + kv * s.size;
  const float factor[2] = {1.0f, 1.0f};
  write<T, D>(key_sums, dk + place, stride, tile.rows, first, s.size, factor);
  write<T, D>(value_sums, dv + place, stride, tile.rows, first, s.size, factor);
}

// Columns of a block's accumulators.
constexpr int kNarrow = 64, kWide = 128;

template <typename T, int D>
struct Passes {
  const AttentionShape& s;
  int warps;
  Stream stream;

  dim3 grid(int64_t tiles, int64_t heads) const {
    return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(heads), blocks(s.size, D));
  }
  size_t bytes(int tiles, bool biased) const { return TileLayout<T, D>(warps, s.size).bytes(tiles, biased); }

  void forward(const QueryTile* tiles, int64_t count, const T* q, const T* k, const T* v, T* o, float* lse) const {
    launch(attend<T, D>, grid(count, s.heads), warps * kWarp, bytes(1, false), stream, s, tiles, q, k, v, o, lse);
  }
  void back_queries(const QueryTile* tiles, int64_t count, const T* q, const T* k, const T* v, const T* go,
                    const float* lse, const float* delta, T* dq, float* bias_parts) const {
    launch(attend_back_queries<T, D>, grid(count, s.heads), warps * kWarp, bytes(2, bias_parts != nullptr), stream, s,
           tiles, q, k, v, go, lse, delta, dq, bias_parts);
  }
  void back_keys(const KeyTile* tiles, const Sight* sights, int64_t count, const T* q, const T* k, const T* v, const T* go,
                 const float* lse, const float* delta, T* dk, T* dv) const {
    launch(attend_back_keys<T, D>, grid(count, s.kv_heads), warps * kWarp, bytes(2, false), stream, s, tiles, sights, q, k,
           v, go, lse, delta, dk, dv);
  }
};

}  // namespace

template <typename T>
int64_t attention_rows(int64_t size, bool backward, bool biased) {
  const int64_t most = most_shared();
  for (const int warps : {4, 2, 1}) {
    const size_t bytes = size <= kNarrow ? TileLayout<T, kNarrow>(warps, size).bytes(backward ? 2 : 1, biased)
                                         : TileLayout<T, kWide>(warps, size).bytes(backward ? 2 : 1, biased);
    if (static_cast<int64_t>(bytes) <= most) return 16 * warps;
  }
  throw std::runtime_error("attention on CUDA: heads of " + std::to_string(size) + " need more than the " +
                           std::to_string(most) + " bytes of shared memory that a block has");
}

template <typename T>
void attention(const AttentionShape& s, int64_t rows, const QueryTile* tiles, int64_t count, const T* q, const T* k,
               const T* v, T* o, float* lse, Stream stream) {
  if (count == 0) return;
  const int warps = static_cast<int>(rows / 16);
  if (s.size <= kNarrow) return Passes<T, kNarrow>{s, warps, stream}.forward(tiles, count, q, k, v, o, lse);
  Passes<T, kWide>{s, warps, stream}.forward(tiles, count, q, k, v, o, lse);
}

template <typename T>
void attention_delta(const AttentionShape& s, const T* o, const T* go, float* delta, Stream stream) {
  constexpr int warps = 4;
  if (s.queries > 0)
    launch(inner_products<T>, blocks(s.queries * s.heads, warps), warps * kWarp, 0, stream, s, o, go, delta);
}

template <typename T>
void attention_queries(const AttentionShape& s, int64_t rows, const QueryTile* tiles, int64_t count, const T* q, const T* k,
                       const T* v, const T* go, const float* lse, const float* delta, T* dq, float* bias_parts,
                       Stream stream) {
  if (count == 0) return;
  const int warps = static_cast<int>(rows / 16);
  if (s.size <= kNarrow)
    return Passes<T, kNarrow>{s, warps, stream}.back_queries(tiles, count, q, k, v, go, lse, delta, dq, bias_parts);
  Passes<T, kWide>{s, warps, stream}.back_queries(tiles, count, q, k, v, go, lse, delta, dq, bias_parts);
}

template <typename T>
void attention_keys(const AttentionShape& s, int64_t rows, const KeyTile* tiles, const Sight* sights, int64_t count,
                    const T* q, const T* k, const T* v, const T* go, const float* lse, const float* delta, T* dk, T* dv,
                    Stream stream) {
  if (count == 0) return;
  const int warps = static_cast<int>(rows / 16);
  if (s.size <= kNarrow)
    return Passes<T, kNarrow>{s, warps, stream}.back_keys(tiles, sights, count, q, k, v, go, lse, delta, dk, dv);
  Passes<T, kWide>{s, warps, stream}.back_keys(tiles, sights, count, q, k, v, go, lse, delta, dk, dv);
}

#define GRAFT_KIND(T)                                                                                                   \
  template int64_t attention_rows<T>(int64_t, bool, bool);                                                              \
  template void attention<T>(const AttentionShape&, int64_t, const QueryTile*, int64_t, const T*, const T*, const T*,   \
                             T*, float*, Stream);                                                                       \
  template void attention_delta<T>(const AttentionShape&, const T*, const T*, float*, Stream);                          \
  template void attention_queries<T>(const AttentionShape&, int64_t, const QueryTile*, int64_t, const T*, const T*,     \
                                     const T*, const T*, const float*, const float*, T*, float*, Stream);               \
  template void attention_keys<T>(const AttentionShape&, int64_t, const KeyTile*, const Sight*, int64_t, const T*,      \
                                  const T*, const T*, const T*, const float*, const float*, T*, T*, Stream);
GRAFT_EACH_KIND(GRAFT_KIND)

}  // namespace graft::cuda
