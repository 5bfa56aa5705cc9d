// Products of a few rows of bf16 by a matrix whose columns lie in lines, as a linear's weight does in x Wᵀ: each weight is
// read once. Of one row they take a quarter of libtorch's time, of 24 as long (docs/log.md).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

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

// A matrix W that rows are multiplied by, and what is added to each (bf16, contiguous), or none.
struct FewRowsFactor {
  int64_t lines;
  const at::Tensor* bias;
  std::function<void(const FewRowsTask&)> multiply;
};

// Of a B = Wᵀ that `has_few_rows` is true of; of a packed W, from its blocks or four lines at a time. Both are referred to,
// as the bias is.
FewRowsFactor few_rows_factor(const at::Tensor& b, const at::Tensor* bias);
FewRowsFactor few_rows_factor(const PackedMatrix& w, const at::Tensor* bias);

// A Wᵀ (+ bias) for each W, bf16, each number rounded once.
std::vector<at::Tensor> few_rows_products(const at::Tensor& a, const std::vector<FewRowsFactor>& factors);

bool is_few(int64_t rows);

// Of bf16 matrices A [m, k] and B [k, n]: whether the product below is for them.
bool has_few_rows(const at::Tensor& a, const at::Tensor& b);

// A B (+ bias [n], bf16 and contiguous), each number rounded once.
at::Tensor few_rows_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor* bias);

// A Wᵀ (+ bias) of a packed W.
at::Tensor few_rows_product(const at::Tensor& a, const PackedMatrix& w, const at::Tensor* bias);

}  // namespace graft
