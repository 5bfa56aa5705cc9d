// Products of bf16 matrices on processors that multiply pairs of bf16 (AVX-512 bf16, AMX): see packed_product.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include "packed_matrix.h"

namespace graft {

// Whether the products below are for this processor.
bool has_packed_product();

// Of bf16 matrices A [m, k] and B [k, n]: whether the product below is for them on this processor.
bool has_packed_product(const at::Tensor& a, const at::Tensor& b);

// What is added to a product: β D, D [n] or [m, n] of bf16 along its lines, and what the product itself is scaled by.
struct Sum {
  const at::Tensor* d = nullptr;
  float beta = 1, alpha = 1;
};

// α A B + β D, each number rounded once. `out` [m, n], with columns side by side, is written where it is given; it may be D.
at::Tensor packed_product(const at::Tensor& a, const at::Tensor& b, const Sum& sum, const at::Tensor* out = nullptr);

// The same of a packed W: A Wᵀ where `forward`, else A W. A's rows have their numbers side by side.
at::Tensor packed_product(const at::Tensor& a, const PackedMatrix& w, bool forward, const Sum& sum);

}  // namespace graft
