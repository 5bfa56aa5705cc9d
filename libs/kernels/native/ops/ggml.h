// Blocks of numbers by ggml's numbers of their layouts: see ggml.cpp, which makes them, and ggml_matrix.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "packed_matrix.h"

namespace graft {

struct GgmlBlock {
  int64_t numbers, bytes;
};

// @throws where this is none that Graft keeps packed
GgmlBlock ggml_block(int64_t type);

// W in blocks [rows, bytes of a row], u8 on the CPU.
Packed ggml_matrix(const at::Tensor& blocks, int64_t type);

}  // namespace graft
