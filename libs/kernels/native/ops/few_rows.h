// Products of a few rows of bf16 by a matrix whose columns lie in lines, as a linear's weight does in x Wᵀ: each weight is
// read once. Of one row they take a quarter of libtorch's time, of 24 as long (docs/log.md).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "packed_matrix.h"

namespace graft {

// Lines [first, end) of W by all rows of A: columns of C.
struct FewRowsTask {
  const uint16_t* a;
  int64_t a_stride, rows, depth;
  const uint16_t* bias;  // or none
  uint16_t* c;
  int64_t c_stride, first, end;
};

bool is_few(int64_t rows);

// Of bf16 matrices A [m, k] and B [k, n]: whether the product below is for them.
bool has_few_rows(const at::Tensor& a, const at::Tensor& b);

// A B (+ bias [n], bf16 and contiguous), each number rounded once.
at::Tensor few_rows_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor* bias);

// A Wᵀ (+ bias), of a packed W from its blocks, or four lines at a time; A's rows have their numbers side by side.
at::Tensor few_rows_product(const at::Tensor& a, const PackedMatrix& w, const at::Tensor* bias);

}  // namespace graft
