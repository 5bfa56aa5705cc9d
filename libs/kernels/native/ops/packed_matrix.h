// Frozen matrices W [out, in] that stay packed. A product expands a tile at a time and keeps no dense copy:
//   y = x Wᵀ + c      dx = dy W      dc = Σ_rows dy        x: [n, in]  y: [n, out]
// In bf16, results have the bits of the same matrix expanded in advance, if our bf16 products are in use (few_rows.h,
// packed_product.h): they read tiles as they read a dense matrix. Otherwise a panel at a time is expanded and multiplied
// by libtorch: rows of W in the forward pass, columns in the backward pass, so that no sum is split.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <cstdint>
#include <optional>

namespace graft {

// Part of a matrix.
struct Tile {
  int64_t row, rows, column, columns;
};

struct FewRowsTask;  // few_rows.h

// a tile's first column is a multiple of this; its last one too, or it is the matrix's last
constexpr int64_t kTileColumns = 64;

class PackedMatrix : public torch::CustomClassHolder {
 public:
  int64_t rows = 0, columns = 0;

  Tile whole() const { return {0, rows, 0, columns}; }
  // Expands a tile on the matrix's device.
  virtual at::Tensor dense(const Tile& tile, at::ScalarType dtype) const = 0;
  // Expands a tile in bf16 to lines that are `stride` apart. CPU.
  virtual void read(const Tile& tile, uint16_t* to, int64_t stride) const = 0;
  // Does the task directly from the packed values, with the bits of expanded lines; returns false if it cannot. CPU.
  virtual bool multiply_few(const FewRowsTask&) const { return false; }
};

using Packed = c10::intrusive_ptr<PackedMatrix>;

// Returns x Wᵀ + c.
at::Tensor multiply(const PackedMatrix& w, const at::Tensor& x, const std::optional<at::Tensor>& bias);

// Returns x Wᵀ + c, with gradients of x and c.
at::Tensor multiply_autograd(const Packed& w, const at::Tensor& x, const std::optional<at::Tensor>& bias);

}  // namespace graft
