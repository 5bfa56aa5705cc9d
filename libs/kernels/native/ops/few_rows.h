// Products of a few bf16 rows with a matrix whose columns are contiguous, such as a linear layer's weight in x Wᵀ: each
// weight is read once. One row takes a quarter of libtorch's time, 24 rows the same time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "packed_matrix.h"

namespace graft {

// Computes lines [first, end) of W for all rows of A: columns of C.
struct FewRowsTask {
  const uint16_t* a;
  int64_t a_stride, rows, depth;
  const uint16_t* bias;  // or null
  uint16_t* c;
  int64_t c_stride, first, end;
};

// A matrix W to multiply rows by, and an optional bias (bf16, contiguous).
struct FewRowsFactor {
  int64_t lines;
  const at::Tensor* bias;
  std::function<void(const FewRowsTask&)> multiply;
};

// Factor of B = Wᵀ, for which `has_few_rows` must be true, or of a packed W, from its blocks or four lines at a time.
// It refers to the matrix and the bias.
FewRowsFactor few_rows_factor(const at::Tensor& b, const at::Tensor* bias);
FewRowsFactor few_rows_factor(const PackedMatrix& w, const at::Tensor* bias);

// Returns A Wᵀ (+ bias) for each W in bf16, each value rounded once.
std::vector<at::Tensor> few_rows_products(const at::Tensor& a, const std::vector<FewRowsFactor>& factors);

bool is_few(int64_t rows);

// Whether bf16 matrices A [m, k] and B [k, n] are suitable for the product below.
bool has_few_rows(const at::Tensor& a, const at::Tensor& b);

// Returns A B (+ bias [n], bf16 and contiguous), each value rounded once.
at::Tensor few_rows_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor* bias);

// Returns A Wᵀ (+ bias) for a packed W.
at::Tensor few_rows_product(const at::Tensor& a, const PackedMatrix& w, const at::Tensor* bias);

}  // namespace graft
