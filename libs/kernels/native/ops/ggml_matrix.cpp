// Products with matrices that stay in llama.cpp's blocks (packed_matrix.h). For each 32 values:
//
//   Q4_0  x = d (q - 8)      Q5_0  x = d (q - 16)    Q8_0        x = d q        d, m: f16
//   Q4_1  x = d q + m        Q5_1  x = d q + m       Q4_K, Q5_K  x = d s q - m t     Q6_K  x = d s (q - 32), s of 16
//
// in f32, with each product and sum rounded (CMakeLists.txt: -ffp-contract=off), as in peft-core's ggml-types.ts. An
// expanded tile has the bits of a base model that was expanded when it was loaded.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Half.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "few_rows.h"
#include "ggml.h"
#include "isa.h"
#include "packed_matrix.h"

namespace graft {
namespace {

constexpr int64_t kGroup = 32;      // values expanded at a time
constexpr int64_t kGrain = 16384;   // values per task
constexpr int64_t kFromBlocks = 4;  // maximum rows for which a product expands values in registers

struct Blocks {
  const uint8_t* bytes;
  int64_t type, line;  // ggml's type number, and bytes of a line
};

#define GRAFT_BODY "ggml_matrix.inc"
#include "isa_each.h"
#undef GRAFT_BODY

class GgmlMatrix : public PackedMatrix {
 public:
  GgmlMatrix(const at::Tensor& blocks, int64_t type) : blocks_(blocks.contiguous()), type_(type) {
    const GgmlBlock block = ggml_block(type);
    TORCH_CHECK(blocks.dim() == 2 && blocks.scalar_type() == at::kByte && blocks.device().is_cpu() &&
                    blocks.size(0) > 0 && blocks.size(1) > 0 && blocks.size(1) % block.bytes == 0,
                "u8 [rows, a multiple of ", block.bytes, "] on the CPU, got ", blocks.dtype(), " ", blocks.sizes());
    rows = blocks.size(0);
    columns = blocks.size(1) / block.bytes * block.numbers;
  }

  at::Tensor dense(const Tile& tile, at::ScalarType dtype) const override {
    if (dtype != at::kFloat && dtype != at::kBFloat16) return dense(tile, at::kFloat).to(dtype);
    at::Tensor out = at::empty({tile.rows, tile.columns}, blocks_.options().dtype(dtype));
    if (dtype == at::kFloat) expand(tile, out.mutable_data_ptr<float>());
    else expand(tile, static_cast<uint16_t*>(out.mutable_data_ptr()));
    return out;
  }

  void read(const Tile& tile, uint16_t* to, int64_t stride) const override {
    GRAFT_DISPATCH(read_tile, all(), tile, to, stride);
  }

  bool multiply_few(const FewRowsTask& t) const override {
    if (t.rows > kFromBlocks) return false;
    GRAFT_DISPATCH(few_rows_of_blocks, t, all());
    return true;
  }

 private:
  Blocks all() const { return {blocks_.const_data_ptr<uint8_t>(), type_, blocks_.size(1)}; }

  template <typename T>
  void expand(const Tile& tile, T* out) const {
    at::parallel_for(0, tile.rows, std::max<int64_t>(1, kGrain / tile.columns), [&](int64_t begin, int64_t end) {
      const Tile part{tile.row + begin, end - begin, tile.column, tile.columns};
      GRAFT_DISPATCH(read_tile, all(), part, out + begin * tile.columns, tile.columns);
    });
  }

  at::Tensor blocks_;
  int64_t type_;
};

at::Tensor ggml_dense(const at::Tensor& blocks, int64_t type, at::ScalarType dtype) {
  const GgmlMatrix w(blocks, type);
  return w.dense(w.whole(), dtype);
}

at::Tensor ggml_linear(const at::Tensor& x, const at::Tensor& blocks, int64_t type,
                       const std::optional<at::Tensor>& bias) {
  return multiply(GgmlMatrix(blocks, type), x, bias);
}

at::Tensor ggml_linear_autograd(const at::Tensor& x, const at::Tensor& blocks, int64_t type,
                                const std::optional<at::Tensor>& bias) {
  return multiply_autograd(c10::make_intrusive<GgmlMatrix>(blocks, type), x, bias);
}

}  // namespace

Packed ggml_matrix(const at::Tensor& blocks, int64_t type) { return c10::make_intrusive<GgmlMatrix>(blocks, type); }

}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("ggml_dense(Tensor blocks, int type, ScalarType dtype) -> Tensor");
  m.def("ggml_linear(Tensor x, Tensor blocks, int type, Tensor? bias) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("ggml_dense", graft::ggml_dense);
  m.impl("ggml_linear", graft::ggml_linear);
}
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("ggml_linear", graft::ggml_linear_autograd); }
