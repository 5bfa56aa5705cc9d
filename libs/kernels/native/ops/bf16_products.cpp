// Products of bf16 matrices for processors without fast ones in libtorch. It uses oneDNN from AVX-512 on, and below that
// loops that reach 1 to 10 GF/s on one core, where f32 products reach 80.
//
//   mm:             C = A B              A: [m, k]  B: [k, n]
//   addmm, addmm_:  C = β D + α A B      D: broadcast to [m, n]
//   bmm, baddbmm:   the same for each matrix of a batch
//
// A block of A and one of B at a time are converted to f32, multiplied, and rounded to bf16 once, as in oneDNN. These
// kernels replace libtorch's in its dispatcher, so linear layers, their gradients and all compositions use them. Products
// of few rows have a separate kernel on every processor (few_rows.h), larger ones on processors with bf16 dot products
// (packed_product.h).
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/baddbmm_cpu_dispatch.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>

#include "few_rows.h"
#include "isa.h"
#include "packed_product.h"

namespace graft::bf16_products {
namespace {

constexpr int64_t kBlock = 1 << 20;  // values of A, of B and of C that are in f32 at a time
constexpr int64_t kSide = 1024;      // side of a block of C
constexpr int64_t kDepth = 4096;     // depth summed at a time, so that blocks of long sums are not slivers
constexpr int64_t kFewRows = 2;

bool ours(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && a.numel() > 0 && b.numel() > 0;
}

// Whether a batched product has few rows by contiguous columns. These are left to libtorch, which reads the second
// factor once.
bool few(const at::Tensor& a, const at::Tensor& b) { return a.size(-2) <= kFewRows && b.stride(-2) == 1; }

bool fit(const at::Tensor& a, const at::Tensor& b) {
  return a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && b.size(1) > 0;
}

// Other shapes, or more rows, are passed to `next`.
template <typename Next>
at::Tensor mm_of_few(const at::Tensor& a, const at::Tensor& b, const Next& next) {
  return ours(a, b) && fit(a, b) && has_few_rows(a, b) ? few_rows_product(a, b, nullptr) : next(a, b);
}

template <typename Next>
at::Tensor addmm_of_few(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                        const at::Scalar& alpha, const Next& next) {
  const bool is_bias = d.scalar_type() == at::kBFloat16 && d.dim() == 1 && d.is_contiguous() && beta.equal(1) && alpha.equal(1);
  return is_bias && ours(a, b) && fit(a, b) && d.size(0) == b.size(1) && has_few_rows(a, b)
             ? few_rows_product(a, b, &d)
             : next(d, a, b, beta, alpha);
}

at::Tensor wide(const at::Tensor& x) { return x.to(at::kFloat); }

/**
 * @param finish converts a block of the product, [rows, columns] in f32, to bf16; arguments: rows, row, columns, column
 */
template <typename Finish>
at::Tensor by_blocks(const at::Tensor& a, const at::Tensor& b, const Finish& finish) {
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "mat1 and mat2 shapes cannot be multiplied (",
              a.sizes(), " and ", b.sizes(), ")");
  const int64_t m = a.size(0), n = b.size(1), depth = a.size(1), deep = std::min(depth, kDepth);
  const int64_t step = std::min(kBlock / deep, kSide);
  at::Tensor out = at::empty({m, n}, a.options());
  for (int64_t column = 0; column < n; column += step) {
    const int64_t columns = std::min(step, n - column);
    const at::Tensor right = wide(b.narrow(1, column, columns).narrow(0, 0, deep));
    for (int64_t row = 0; row < m; row += step) {
      const int64_t rows = std::min(step, m - row);
      const at::Tensor left = a.narrow(0, row, rows);
      at::Tensor product = at::cpu::mm(wide(left.narrow(1, 0, deep)), right);
      for (int64_t k = deep; k < depth; k += deep) {
        const int64_t more = std::min(deep, depth - k);
        const at::Tensor below = wide(b.narrow(1, column, columns).narrow(0, k, more));
        at::cpu::addmm_(product, wide(left.narrow(1, k, more)), below);
      }
      out.narrow(0, row, rows).narrow(1, column, columns).copy_(finish(product, row, rows, column, columns));
    }
  }
  return out;
}

at::Tensor wide_mm(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b)) return at::cpu::mm(a, b);
  return by_blocks(a, b, [](const at::Tensor& product, auto...) { return product; });
}

at::Tensor wide_addmm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                      const at::Scalar& alpha) {
  if (!ours(a, b)) return at::cpu::addmm(d, a, b, beta, alpha);
  const at::Tensor whole = d.expand({a.size(0), b.size(1)});
  const bool added = beta.toDouble() != 0;  // a summand that is not added may be NaN
  return by_blocks(a, b, [&](at::Tensor product, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    if (alpha.toDouble() != 1) product.mul_(alpha);
    return added ? product.add_(wide(whole.narrow(0, row, rows).narrow(1, column, columns)), beta) : product;
  });
}

bool is_packed(const at::Tensor& a, const at::Tensor& b) { return ours(a, b) && fit(a, b) && has_packed_product(a, b); }

// Whether D can be added directly: a bias, or a matrix of the product's shape with contiguous rows.
bool is_sum(const at::Tensor& d, int64_t rows, int64_t columns) {
  if (d.scalar_type() != at::kBFloat16) return false;
  if (d.dim() == 1) return d.size(0) == columns && d.is_contiguous();
  return d.dim() == 2 && d.size(0) == rows && d.size(1) == columns && d.stride(1) == 1;
}

bool is_packed_sum(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta) {
  // a summand that is not added may be NaN
  return is_packed(a, b) && is_sum(d, a.size(0), b.size(1)) && beta.toDouble() != 0;
}

Sum sum_of(const at::Tensor& d, const at::Scalar& beta, const at::Scalar& alpha) {
  return {&d, beta.toFloat(), alpha.toFloat()};
}

at::Tensor mm(const at::Tensor& a, const at::Tensor& b) {
  return mm_of_few(a, b, [](const at::Tensor& a, const at::Tensor& b) {
    if (is_packed(a, b)) return packed_product(a, b, {});
    return isa() >= Isa::kAvx512 ? at::cpu::mm(a, b) : wide_mm(a, b);
  });
}

at::Tensor addmm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                 const at::Scalar& alpha) {
  return addmm_of_few(d, a, b, beta, alpha, [](auto& d, auto& a, auto& b, auto& beta, auto& alpha) {
    if (is_packed_sum(d, a, b, beta)) return packed_product(a, b, sum_of(d, beta, alpha));
    return isa() >= Isa::kAvx512 ? at::cpu::addmm(d, a, b, beta, alpha) : wide_addmm(d, a, b, beta, alpha);
  });
}

at::Tensor& addmm_(at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                   const at::Scalar& alpha) {
  if (d.dim() == 2 && is_packed_sum(d, a, b, beta)) {
    packed_product(a, b, sum_of(d, beta, alpha), &d);
    return d;
  }
  if (!ours(a, b) || isa() >= Isa::kAvx512) return at::cpu::addmm_(d, a, b, beta, alpha);
  return d.copy_(wide_addmm(d, a, b, beta, alpha));
}

/** @param multiply multiplies a number of matrices of the batch, from an index on, in f32 */
template <typename Multiply>
at::Tensor by_batch(const at::Tensor& a, const at::Tensor& b, const Multiply& multiply) {
  TORCH_CHECK(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0) && a.size(2) == b.size(1),
              "batches of matrices that can be multiplied, got ", a.sizes(), " and ", b.sizes());
  const int64_t batch = a.size(0), most = std::max({a.size(1) * a.size(2), b.size(1) * b.size(2), a.size(1) * b.size(2)});
  const int64_t step = std::max<int64_t>(1, kBlock / most);
  at::Tensor out = at::empty({batch, a.size(1), b.size(2)}, a.options());
  for (int64_t first = 0; first < batch; first += step) {
    const int64_t count = std::min(step, batch - first);
    const at::Tensor left = wide(a.narrow(0, first, count)), right = wide(b.narrow(0, first, count));
    out.narrow(0, first, count).copy_(multiply(left, right, first, count));
  }
  return out;
}

at::Tensor bmm(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b) || few(a, b)) return at::cpu::bmm(a, b);
  return by_batch(a, b, [](const auto& left, const auto& right, auto...) { return at::cpu::bmm(left, right); });
}

at::Tensor baddbmm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                   const at::Scalar& alpha) {
  if (!ours(a, b) || few(a, b)) return at::cpu::baddbmm(d, a, b, beta, alpha);
  const at::Tensor whole = d.expand({a.size(0), a.size(1), b.size(2)});
  return by_batch(a, b, [&](const auto& left, const auto& right, int64_t first, int64_t count) {
    return at::cpu::baddbmm(wide(whole.narrow(0, first, count)), left, right, beta, alpha);
  });
}

// The dispatcher warns once about replaced kernels, which is intended.
struct Silent : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

}  // namespace
}  // namespace graft::bf16_products

TORCH_LIBRARY_IMPL(aten, CPU, m) {
  using namespace graft::bf16_products;
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  m.impl("mm", mm);
  m.impl("addmm", addmm);
  m.impl("addmm_", addmm_);
  if (graft::isa() >= graft::Isa::kAvx512) return;
  m.impl("bmm", bmm);
  m.impl("baddbmm", baddbmm);
}
