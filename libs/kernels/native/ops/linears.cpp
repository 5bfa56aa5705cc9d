// y_i = x W_iᵀ + c_i for few rows: linear layers with the same input, such as query, key and value, in one call.
//
// x: [n, in], bf16  W_i: bf16 [out, in], or GGUF blocks, u8 [out, bytes per row], with ggml's type number in type_i
// (otherwise -1)  c_i: [out] or none  y_i: [n, out]. The bits equal those of separate calls (few_rows.h). No gradients.
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "few_rows.h"
#include "ggml.h"

namespace graft::linears {
namespace {

constexpr int64_t kDense = -1;

bool is_rows(const at::Tensor& t) { return t.dim() == 2 && t.scalar_type() == at::kBFloat16 && t.stride(1) == 1; }

std::vector<at::Tensor> linears(const at::Tensor& x, at::TensorList ws, at::IntArrayRef types,
                                const c10::List<std::optional<at::Tensor>>& biases) {
  TORCH_CHECK(x.dim() == 2 && x.scalar_type() == at::kBFloat16 && is_few(x.size(0)) && x.size(1) > 0,
              "expected few rows of bf16, got ", x.dtype(), " ", x.sizes());
  TORCH_CHECK(ws.size() == types.size() && ws.size() == biases.size(), "expected a layout and a bias, or none, for each of ",
              ws.size(), " matrices");
  std::vector<Packed> packed;
  std::vector<at::Tensor> added(ws.size());
  std::vector<FewRowsFactor> factors;
  for (size_t i = 0; i < ws.size(); i++) {
    const at::Tensor& w = ws[i];
    if (types[i] != kDense) packed.push_back(ggml_matrix(w, types[i]));
    TORCH_CHECK(types[i] != kDense || is_rows(w), "matrix ", i, " is not bf16 [out, in] with its lines' numbers side by side");
    const int64_t lines = w.size(0), width = types[i] == kDense ? w.size(1) : packed.back()->columns;
    TORCH_CHECK(width == x.size(1), "matrix ", i, " has lines of ", width, " numbers, x of ", x.size(1));
    const std::optional<at::Tensor> bias = biases[i];
    if (bias) {
      TORCH_CHECK(bias->scalar_type() == at::kBFloat16 && bias->dim() == 1 && bias->size(0) == lines, "bias ", i, " is ",
                  bias->dtype(), " ", bias->sizes(), ", expected bf16 [", lines, "]");
      added[i] = bias->contiguous();
    }
    const at::Tensor* own = bias ? &added[i] : nullptr;
    factors.push_back(types[i] == kDense ? few_rows_factor(w.t(), own) : few_rows_factor(*packed.back(), own));
  }
  return few_rows_products(x, factors);
}

}  // namespace
}  // namespace graft::linears

TORCH_LIBRARY_FRAGMENT(graft, m) { m.def("linears(Tensor x, Tensor[] w, int[] types, Tensor?[] bias) -> Tensor[]"); }
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("linears", graft::linears::linears); }
