// Blocks of numbers by ggml's numbers of their layouts: see ggml.cpp, which makes them, and ggml_matrix.cpp.
#pragma once

#include <cstdint>

namespace graft {

struct GgmlBlock {
  int64_t numbers, bytes;
};

// @throws where this is none that Graft keeps packed
GgmlBlock ggml_block(int64_t type);

}  // namespace graft
