// Cross-entropy with its gradient written over the logits, so that [n, V] exists once and in the model's dtype.
//
//   loss_i = log Σ_c e^(z_ic) - z_iy      right_i = [z_iy >= max_c z_ic]      z_ic ← s_i (softmax(z_i)_c - [c = y])
//
// logits z: [n, V] f32 or bf16  labels y: i64 [n]  scales s: f32 [n]; without them the logits are unchanged
// → losses f32 [n], right bool [n]. Sums are f32.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "operator.h"

namespace graft::loss {
namespace {

struct LossTask {
  bool wide;  // f32, otherwise bf16
  void* logits;
  const int64_t* labels;
  const float* scales;
  float* losses;
  bool* right;
  int64_t rows, classes;
};

#define GRAFT_BODY "loss.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

std::tuple<at::Tensor, at::Tensor> rows_cpu(at::Tensor logits, const at::Tensor& labels,
                                            const std::optional<at::Tensor>& scales) {
  const int64_t rows = logits.size(0), classes = logits.size(1);
  const int64_t* wanted = labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows; i++)
    TORCH_CHECK(wanted[i] >= 0 && wanted[i] < classes, "label ", wanted[i], " of row ", i, " is not one of ", classes);
  at::Tensor losses = at::empty({rows}, at::kFloat), right = at::empty({rows}, at::kBool);
  float* losses_data = losses.mutable_data_ptr<float>();
  bool* right_data = right.mutable_data_ptr<bool>();
  const float* scales_data = scales ? scales->const_data_ptr<float>() : nullptr;
  char* data = static_cast<char*>(scales ? logits.mutable_data_ptr() : const_cast<void*>(logits.const_data_ptr()));
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    LossTask t{logits.scalar_type() == at::kFloat,
               data + begin * classes * logits.element_size(),
               wanted + begin,
               scales_data ? scales_data + begin : nullptr,
               losses_data + begin,
               right_data + begin,
               end - begin,
               classes};
    GRAFT_DISPATCH(loss_rows, t);
  });
  return {losses, right};
}

std::tuple<at::Tensor, at::Tensor> cross_entropy(at::Tensor logits, const at::Tensor& labels,
                                                 const std::optional<at::Tensor>& scales) {
  TORCH_CHECK(logits.dim() == 2 && logits.is_contiguous(), "logits must be contiguous [rows, classes]");
  TORCH_CHECK(logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kBFloat16, "f32 or bf16, got ", logits.dtype());
  const int64_t rows = logits.size(0), classes = logits.size(1);
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.dim() == 1 && labels.size(0) == rows && labels.is_contiguous(),
              "labels must be i64 [", rows, "]");
  TORCH_CHECK(!scales || (scales->scalar_type() == at::kFloat && scales->numel() == rows && scales->is_contiguous()),
              "scales must be f32 [", rows, "]");
  static const auto body = operator_of<decltype(rows_cpu)>("graft::cross_entropy_rows_");
  return body.call(logits, labels, scales);
}

}  // namespace
}  // namespace graft::loss

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("cross_entropy_(Tensor(a!) logits, Tensor labels, Tensor? scales) -> (Tensor, Tensor)");
  // the implementations, which expect validated arguments
  m.def("cross_entropy_rows_(Tensor(a!) logits, Tensor labels, Tensor? scales) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("cross_entropy_rows_", graft::loss::rows_cpu); }
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("cross_entropy_", graft::loss::cross_entropy); }
