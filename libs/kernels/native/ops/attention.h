// Validated arguments of attention for any device. Names: attention.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace graft {

struct Segment {
  int64_t start, rows, key_start, key_rows, before_start, before, offset;

  int64_t keys() const { return before + key_rows; }
};

struct AttentionOptions {
  double scale;
  bool causal;
  int64_t window;
  int64_t bias_behind;  // distances below 0 that the bias covers; -1 if the bias is by place
  double cap;

  bool by_place() const { return bias_behind < 0; }
};

struct AttentionProblem {
  at::Tensor q, k, v, bias;  // row strides may differ from the width; those of k and v are equal
  AttentionOptions options;
  std::vector<Segment> segments;
  int64_t queries, keys, heads, kv_heads, size, behind, ahead;

  AttentionProblem(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const std::optional<at::Tensor>& bias_,
                   c10::IntArrayRef flat, AttentionOptions options_);
};

}  // namespace graft
