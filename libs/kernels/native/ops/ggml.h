// Block layouts by ggml's type numbers. ggml.cpp creates blocks, ggml_matrix.cpp multiplies with them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "packed_matrix.h"

namespace graft {

struct GgmlBlock {
  int64_t numbers, bytes;
};

// @throws if Graft does not keep this type packed
GgmlBlock ggml_block(int64_t type);

// Returns W from blocks [rows, bytes per row], u8 on the CPU.
Packed ggml_matrix(const at::Tensor& blocks, int64_t type);

}  // namespace graft
