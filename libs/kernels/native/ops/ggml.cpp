// Quantizes to llama.cpp's blocks, bit for bit as ggml's reference does (ggml-quants.c, MIT). peft-core's ggml-types.ts
// and ggml-k-types.ts read them. q: stored value of x, d and m: f16, s and t: integers.
//
//   Q8_0  32 values    x = d q             d = max |x| / 127
//   Q5_0  32 values    x = d (q - 16)      d = (x of the largest |x|) / -16
//   Q5_1  32 values    x = d q + m         d = (max x - min x) / 31,  m = min x
//   Q4_K  256 values   x = d s q - m t     s, t: per 32 values, 6 bits
//   Q5_K  256 values   the same
//   Q6_K  256 values   x = d s (q - 32)    s: per 16 values, 8 bits
//
// K blocks search several steps around max |x| for the least squares Σ w (x - scale q + min)², with
// w = √(Σ x² / 32) + |x|, or x² in Q6_K. Sums have ggml's order, and no product is fused into a sum
// (CMakeLists.txt: -ffp-contract=off).
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Half.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "ggml.h"

namespace graft {
namespace {

constexpr int64_t kQuantized = 16384;     // values per task
constexpr float kNothing = 1e-15f;       // threshold below which a group of Q6_K is all zeros

// Rounds to the nearest integer, ties to even, for |x| < 2²², by adding 1.5 · 2²³.
inline int nearest(float x) {
  const float shifted = x + 12582912.0f;
  int bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return (bits & 0x007fffff) - 0x00400000;
}

inline float put_half(float x, uint8_t* to) {
  const c10::Half half(x);
  std::memcpy(to, &half.x, 2);
  return static_cast<float>(half);
}

inline float inverse(float d) { return d != 0 ? 1.0f / d : 0.0f; }

void q8_0(const float* x, uint8_t* to) {
  float most = 0;
  for (int i = 0; i < 32; i++) most = std::max(most, std::fabs(x[i]));
  const float d = most / 127;
  const float id = inverse(d);
  put_half(d, to);
  for (int i = 0; i < 32; i++) to[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * id)));
}

// Stores the low halves and fifth bits of 32 values below 32.
void put_fifths(const uint8_t* q, uint8_t* high, uint8_t* low) {
  uint32_t fifths = 0;
  for (int i = 0; i < 16; i++) low[i] = (q[i] & 15) | ((q[i + 16] & 15) << 4);
  for (int i = 0; i < 32; i++) fifths |= static_cast<uint32_t>(q[i] >> 4) << i;
  std::memcpy(high, &fifths, 4);
}

void q5_0(const float* x, uint8_t* to) {
  float most = 0, largest = 0;
  for (int i = 0; i < 32; i++) {
    if (most < std::fabs(x[i])) {
      most = std::fabs(x[i]);
      largest = x[i];
    }
  }
  const float d = largest / -16;
  const float id = inverse(d);
  put_half(d, to);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = std::min<int>(31, static_cast<int8_t>(x[i] * id + 16.5f));
  put_fifths(q, to + 2, to + 6);
}

void q5_1(const float* x, uint8_t* to) {
  const auto [least, most] = std::minmax_element(x, x + 32);
  const float low = *least;
  const float d = (*most - low) / 31;
  const float id = inverse(d);
  put_half(d, to);
  put_half(low, to + 2);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = static_cast<uint8_t>((x[i] - low) * id + 0.5f);
  put_fifths(q, to + 4, to + 8);
}

struct Search {
  int most;  // highest q
  float start, step;
  int steps;
};

// Returns the scale of 32 values, x ≈ scale q - min; writes min to `minimum` and q to `found`.
float scale_and_minimum(const float* x, const float* w, const Search& search, float* minimum, uint8_t* found) {
  constexpr int n = 32;
  float least = x[0], most = x[0];
  float sum_w = w[0], sum_x = w[0] * x[0];
  for (int i = 1; i < n; i++) {
    if (x[i] < least) least = x[i];
    if (x[i] > most) most = x[i];
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  if (least > 0) least = 0;
  *minimum = -least;
  std::fill(found, found + n, 0);
  if (most == least) return 0;
  // uses the best minimum so far, as ggml does
  const auto quantized = [&](float inverse_scale, int i) {
    return std::clamp(nearest(inverse_scale * (x[i] - least)), 0, search.most);
  };
  const float first = search.most / (most - least);
  float scale = 1 / first, best = 0;
  for (int i = 0; i < n; i++) {
    found[i] = static_cast<uint8_t>(quantized(first, i));
    const float miss = scale * found[i] + least - x[i];
    best += w[i] * (miss * miss);
  }
  for (int s = 0; s <= search.steps; s++) {
    const float candidate = (search.start + search.step * s + search.most) / (most - least);
    int q[n];
    float sum_q = 0, sum_qq = 0, sum_xq = 0;
    for (int i = 0; i < n; i++) {
      q[i] = quantized(candidate, i);
      sum_q += w[i] * q[i];
      sum_qq += w[i] * q[i] * q[i];
      sum_xq += w[i] * q[i] * x[i];
    }
    const float determinant = sum_w * sum_qq - sum_q * sum_q;
    if (!(determinant > 0)) continue;
    float this_scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
    float this_least = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
    if (this_least > 0) {
      this_least = 0;
      this_scale = sum_xq / sum_qq;
    }
    float error = 0;
    for (int i = 0; i < n; i++) {
      const float miss = this_scale * q[i] + this_least - x[i];
      error += w[i] * (miss * miss);
    }
    if (error < best) {
      best = error;
      scale = this_scale;
      least = this_least;
      std::copy(q, q + n, found);
    }
  }
  *minimum = -least;
  return scale;
}

// Shared part of Q4_K and Q5_K: writes d, m and 12 bytes of scales and minima, and q of all values.
void scales_and_numbers(const float* x, const Search& search, uint8_t* to, uint8_t* q) {
  float scales[8], minima[8], top_scale = 0, top_minimum = 0;
  for (int g = 0; g < 8; g++) {
    const float* from = x + 32 * g;
    float squares = 0, w[32];
    for (int i = 0; i < 32; i++) squares += from[i] * from[i];
    const float average = std::sqrt(squares / 32);
    for (int i = 0; i < 32; i++) w[i] = average + std::fabs(from[i]);
    scales[g] = scale_and_minimum(from, w, search, &minima[g], q + 32 * g);
    top_scale = std::max(top_scale, scales[g]);
    top_minimum = std::max(top_minimum, minima[g]);
  }
  const float per_scale = top_scale > 0 ? 63.0f / top_scale : 0.0f;
  const float per_minimum = top_minimum > 0 ? 63.0f / top_minimum : 0.0f;
  const float d = put_half(top_scale / 63.0f, to), m = put_half(top_minimum / 63.0f, to + 2);
  uint8_t* packed = to + 4;
  std::memset(packed, 0, 12);
  for (int g = 0; g < 8; g++) {
    const uint8_t s = std::min<uint8_t>(63, static_cast<uint8_t>(nearest(per_scale * scales[g])));
    const uint8_t t = std::min<uint8_t>(63, static_cast<uint8_t>(nearest(per_minimum * minima[g])));
    if (g < 4) {
      packed[g] = s;
      packed[g + 4] = t;
    } else {
      packed[g + 4] = (s & 15) | ((t & 15) << 4);
      packed[g - 4] |= (s >> 4) << 6;
      packed[g] |= (t >> 4) << 6;
    }
    const float scale = d * s, minimum = m * t;
    if (scale == 0) continue;  // keeps the previous result, as ggml does
    for (int i = 0; i < 32; i++)
      q[32 * g + i] = static_cast<uint8_t>(std::clamp(nearest((x[32 * g + i] + minimum) / scale), 0, search.most));
  }
}

void q4_k(const float* x, uint8_t* to) {
  uint8_t q[256];
  scales_and_numbers(x, {15, -1.0f, 0.1f, 20}, to, q);
  uint8_t* low = to + 16;
  for (int pair = 0; pair < 4; pair++)
    for (int i = 0; i < 32; i++) low[32 * pair + i] = q[64 * pair + i] | (q[64 * pair + 32 + i] << 4);
}

void q5_k(const float* x, uint8_t* to) {
  uint8_t q[256];
  scales_and_numbers(x, {31, -0.5f, 0.1f, 15}, to, q);
  uint8_t *high = to + 16, *low = to + 48;
  std::memset(high, 0, 32);
  for (int pair = 0; pair < 4; pair++) {
    for (int i = 0; i < 32; i++) {
      const uint8_t one = q[64 * pair + i], other = q[64 * pair + 32 + i];
      low[32 * pair + i] = (one & 15) | ((other & 15) << 4);
      high[i] |= (one >> 4) << (2 * pair) | (other >> 4) << (2 * pair + 1);
    }
  }
}

// Returns the scale of 16 values, x ≈ scale (q - 32); writes q to `q`.
float signed_scale(const float* x, uint8_t* q) {
  constexpr int n = 16, half = 32;
  float most = 0, largest = 0;
  for (int i = 0; i < n; i++) {
    if (std::fabs(x[i]) > most) {
      most = std::fabs(x[i]);
      largest = x[i];
    }
  }
  std::fill(q, q + n, 0);
  if (most < kNothing) return 0;
  const auto quantized = [&](float inverse_scale, int i) {
    return std::clamp(nearest(inverse_scale * x[i]), -half, half - 1);
  };
  const auto sums = [&](float inverse_scale, float* sum_xq, float* sum_qq) {
    *sum_xq = *sum_qq = 0;
    for (int i = 0; i < n; i++) {
      const int number = quantized(inverse_scale, i);
      const float w = x[i] * x[i];
      *sum_xq += w * x[i] * number;
      *sum_qq += w * number * number;
    }
  };
  const auto keep = [&](float inverse_scale) {
    for (int i = 0; i < n; i++) q[i] = static_cast<uint8_t>(quantized(inverse_scale, i) + half);
  };
  float sum_xq, sum_qq;
  const float first = -half / largest;
  sums(first, &sum_xq, &sum_qq);
  keep(first);
  float scale = sum_qq != 0 ? sum_xq / sum_qq : 0.0f;
  float best = scale * sum_xq;
  for (int s = -9; s <= 9; s++) {
    if (s == 0) continue;
    const float candidate = -(half + 0.1f * s) / largest;
    sums(candidate, &sum_xq, &sum_qq);
    if (sum_qq > 0 && sum_xq * sum_xq > best * sum_qq) {
      keep(candidate);
      scale = sum_xq / sum_qq;
      best = scale * sum_xq;
    }
  }
  return scale;
}

void q6_k(const float* x, uint8_t* to) {
  uint8_t q[256];
  float scales[16], top = 0, most = 0;
  for (int g = 0; g < 16; g++) {
    scales[g] = signed_scale(x + 16 * g, q + 16 * g);
    if (std::fabs(scales[g]) > most) {
      most = std::fabs(scales[g]);
      top = scales[g];
    }
  }
  std::memset(to, 0, 210);
  if (most < kNothing) return;
  const float per_scale = -128.0f / top;
  const float d = put_half(1 / per_scale, to + 208);
  for (int g = 0; g < 16; g++) {
    const auto s = static_cast<int8_t>(std::min(127, nearest(per_scale * scales[g])));
    to[192 + g] = static_cast<uint8_t>(s);
    const float scale = d * s;
    if (scale == 0) continue;
    for (int i = 0; i < 16; i++)
      q[16 * g + i] = static_cast<uint8_t>(std::clamp(nearest(x[16 * g + i] / scale), -32, 31) + 32);
  }
  for (int part = 0; part < 2; part++) {
    uint8_t *low = to + 64 * part, *high = to + 128 + 32 * part;
    for (int i = 0; i < 32; i++) {
      const uint8_t* of = q + 128 * part + i;
      low[i] = (of[0] & 15) | ((of[64] & 15) << 4);
      low[i + 32] = (of[32] & 15) | ((of[96] & 15) << 4);
      high[i] = (of[0] >> 4) | (of[32] >> 4) << 2 | (of[64] >> 4) << 4 | (of[96] >> 4) << 6;
    }
  }
}

// Quantizer of one of ggml's type numbers.
void (*quantizer_of(int64_t type))(const float*, uint8_t*) {
  switch (type) {
    case 6: return q5_0;
    case 7: return q5_1;
    case 8: return q8_0;
    case 12: return q4_k;
    case 13: return q5_k;
    case 14: return q6_k;
    default: TORCH_CHECK(false, "a type of ggml that is written here, got ", type);
  }
}

at::Tensor ggml_quantize(const at::Tensor& given, int64_t type) {
  const auto quantize = quantizer_of(type);
  const GgmlBlock layout = ggml_block(type);
  TORCH_CHECK(given.dim() == 2 && given.scalar_type() == at::kFloat, "a matrix of f32, got ", given.dtype(), " ",
              given.sizes());
  const int64_t rows = given.size(0), columns = given.size(1);
  TORCH_CHECK(columns % layout.numbers == 0, "rows of a multiple of ", layout.numbers, " numbers, got ", columns);
  const at::Tensor matrix = given.contiguous();
  const int64_t blocks = columns / layout.numbers;
  at::Tensor packed = at::empty({rows, blocks * layout.bytes}, at::kByte);
  const float* from = matrix.const_data_ptr<float>();
  uint8_t* to = packed.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, rows * blocks, std::max<int64_t>(1, kQuantized / layout.numbers), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) quantize(from + b * layout.numbers, to + b * layout.bytes);
  });
  return packed;
}

}  // namespace

GgmlBlock ggml_block(int64_t type) {
  switch (type) {
    case 2: return {32, 18};    // Q4_0
    case 3: return {32, 20};    // Q4_1
    case 6: return {32, 22};    // Q5_0
    case 7: return {32, 24};    // Q5_1
    case 8: return {32, 34};    // Q8_0
    case 12: return {256, 144}; // Q4_K
    case 13: return {256, 176}; // Q5_K
    case 14: return {256, 210}; // Q6_K
    default: TORCH_CHECK(false, "a layout of ggml in blocks, got ", type);
  }
}

}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) { m.def("ggml_quantize(Tensor matrix, int type) -> Tensor"); }
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("ggml_quantize", graft::ggml_quantize); }
