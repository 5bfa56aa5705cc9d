// Frozen matrices W [out, in] that stay packed. A product expands a tile at a time and keeps only what is packed:
//   y = x Wᵀ + c      dx = dy W      dc = Σ_rows dy        x: [n, in]  y: [n, out]
// In bf16 it gives the bits that the same matrix expanded beforehand gives, where the own products of bf16 are in use
// (few_rows.h, packed_product.h): they read tiles of it as they read a dense matrix. Elsewhere a panel at a time is
// expanded whole and given to libtorch's products, forward some rows of W, backward some columns, so that no sum is cut.
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

constexpr int64_t kTileColumns = 64;  // of a tile, its first column is a multiple; its last one too, or that of the matrix

class PackedMatrix : public torch::CustomClassHolder {
 public:
  int64_t rows = 0, columns = 0;

  Tile whole() const { return {0, rows, 0, columns}; }
  // On the device that the matrix is on.
  virtual at::Tensor dense(const Tile& tile, at::ScalarType dtype) const = 0;
  // In bf16 into lines that lie `stride` apart; CPU.
  virtual void read(const Tile& tile, uint16_t* to, int64_t stride) const = 0;
  // Does the task straight from what is packed, with the bits that it has from lines read; false where it cannot. CPU.
  virtual bool multiply_few(const FewRowsTask&) const { return false; }
};

using Packed = c10::intrusive_ptr<PackedMatrix>;

// x Wᵀ + c
at::Tensor multiply(const PackedMatrix& w, const at::Tensor& x, const std::optional<at::Tensor>& bias);

// The same, with gradients of x and c.
at::Tensor multiply_autograd(const Packed& w, const at::Tensor& x, const std::optional<at::Tensor>& bias);

}  // namespace graft
