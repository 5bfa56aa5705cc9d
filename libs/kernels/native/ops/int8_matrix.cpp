// Products with matrices of 8 bits per value and one scale per row, in the layout of bitsandbytes' Linear8bitLt
// (LLM.int8(), arXiv:2208.07339). Unlike there, x is not rounded.
//   W_ij = q_ij s_i / 127      s_i = max_j |W_ij|      (packed_matrix.h)
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "isa.h"
#include "packed_matrix.h"

namespace graft::int8_matrix {
namespace {

constexpr int64_t kGrain = 16384;          // values per task
constexpr float kStep = 7.874015718698502e-3f;  // the factor of bitsandbytes, about 1 / 127

struct Int8Lines {
  const int8_t* numbers;
  const float* scales;
  int64_t columns;
};

#define GRAFT_BODY "int8_matrix.inc"
#include "isa_each.h"
#undef GRAFT_BODY

class Int8Matrix : public PackedMatrix {
 public:
  Int8Matrix(const at::Tensor& numbers, const at::Tensor& scales)
      : numbers_(numbers.contiguous()), scales_(scales.contiguous()) {
    TORCH_CHECK(numbers.dim() == 2 && numbers.scalar_type() == at::kChar && numbers.numel() > 0, "i8 [rows, columns], got ",
                numbers.dtype(), " ", numbers.sizes());
    TORCH_CHECK(scales.dim() == 1 && scales.scalar_type() == at::kFloat && scales.size(0) == numbers.size(0), "f32 [",
                numbers.size(0), "], got ", scales.dtype(), " ", scales.sizes());
    rows = numbers.size(0);
    columns = numbers.size(1);
  }

  at::Tensor dense(const Tile& tile, at::ScalarType dtype) const override {
    if (!numbers_.device().is_cpu() || (dtype != at::kFloat && dtype != at::kBFloat16)) return composed(tile).to(dtype);
    at::Tensor out = at::empty({tile.rows, tile.columns}, numbers_.options().dtype(dtype));
    if (dtype == at::kFloat) expand(tile, out.mutable_data_ptr<float>());
    else expand(tile, static_cast<uint16_t*>(out.mutable_data_ptr()));
    return out;
  }

  void read(const Tile& tile, uint16_t* to, int64_t stride) const override {
    GRAFT_DISPATCH(read_tile, lines(), tile, to, stride);
  }

 private:
  Int8Lines lines() const { return {numbers_.const_data_ptr<int8_t>(), scales_.const_data_ptr<float>(), columns}; }

  at::Tensor composed(const Tile& tile) const {
    const at::Tensor part = numbers_.narrow(0, tile.row, tile.rows).narrow(1, tile.column, tile.columns);
    return part.to(at::kFloat).mul(scales_.narrow(0, tile.row, tile.rows).unsqueeze(1)).mul(kStep);
  }

  template <typename T>
  void expand(const Tile& tile, T* out) const {
    at::parallel_for(0, tile.rows, std::max<int64_t>(1, kGrain / tile.columns), [&](int64_t begin, int64_t end) {
      const Tile part{tile.row + begin, end - begin, tile.column, tile.columns};
      GRAFT_DISPATCH(read_tile, lines(), part, out + begin * tile.columns, tile.columns);
    });
  }

  at::Tensor numbers_, scales_;
};

at::Tensor int8_dense(const at::Tensor& numbers, const at::Tensor& scales, at::ScalarType dtype) {
  const Int8Matrix w(numbers, scales);
  return w.dense(w.whole(), dtype);
}

at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& numbers, const at::Tensor& scales,
                       const std::optional<at::Tensor>& bias) {
  return multiply(Int8Matrix(numbers, scales), x, bias);
}

at::Tensor int8_linear_autograd(const at::Tensor& x, const at::Tensor& numbers, const at::Tensor& scales,
                                const std::optional<at::Tensor>& bias) {
  return multiply_autograd(c10::make_intrusive<Int8Matrix>(numbers, scales), x, bias);
}

}  // namespace
}  // namespace graft::int8_matrix

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("int8_dense(Tensor numbers, Tensor scales, ScalarType dtype) -> Tensor", graft::int8_matrix::int8_dense);
  m.def("int8_linear(Tensor x, Tensor numbers, Tensor scales, Tensor? bias) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("int8_linear", graft::int8_matrix::int8_linear); }
// its composition runs on any device
TORCH_LIBRARY_IMPL(graft, CUDA, m) { m.impl("int8_linear", graft::int8_matrix::int8_linear); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("int8_linear", graft::int8_matrix::int8_linear_autograd); }
