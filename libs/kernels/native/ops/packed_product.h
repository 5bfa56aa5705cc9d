// Products of bf16 matrices on processors with bf16 dot products (AVX-512 bf16, AMX). See packed_product.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include "packed_matrix.h"

namespace graft {

// Whether this processor has the products below.
bool has_packed_product();

// Whether the product below is suitable for bf16 matrices A [m, k] and B [k, n] on this processor.
bool has_packed_product(const at::Tensor& a, const at::Tensor& b);

// A summand and a scale: β D, with D [n] or [m, n] in bf16, and α of the product.
struct Sum {
  const at::Tensor* d = nullptr;
  float beta = 1, alpha = 1;
};

// Returns α A B + β D, each value rounded once. If `out` [m, n] with contiguous rows is given, it receives the result;
// it may be D.
at::Tensor packed_product(const at::Tensor& a, const at::Tensor& b, const Sum& sum, const at::Tensor* out = nullptr);

// The product with a packed W: A Wᵀ if `forward`, otherwise A W. A has contiguous rows.
at::Tensor packed_product(const at::Tensor& a, const PackedMatrix& w, bool forward, const Sum& sum);

}  // namespace graft
