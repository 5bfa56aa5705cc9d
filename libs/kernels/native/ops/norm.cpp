// RMSNorm (arXiv:1910.07467) as in Hugging Face's LLaMA, over the last dimension of n elements.
//
//   r = 1 / sqrt(mean(x²) + eps)     y = w ⊙ cast(x r)          in f32, rounded to x's dtype before w
//   g = w ⊙ dy                       dx = r (g - x r² · mean(g ⊙ x))     dw = Σ_rows dy ⊙ x r
//
// x, y: [..., n]  w: [n] in x's dtype, f32 or bf16. x and r are saved for the backward pass.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>

#include "operator.h"

namespace graft::norm {
namespace {

struct NormTask {
  bool wide;  // f32, otherwise bf16
  const void *x, *weight;
  void* out;
  float* rstd;
  int64_t rows, size;
  float eps;
  const void* dy;  // backward only
  float* dw;       // sums of these rows, or null
};

#define GRAFT_BODY "norm.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

constexpr int64_t kGrain = 64;  // rows per task; dw is summed by task, so it does not depend on threads

int64_t size_of(const at::Tensor& x) { return x.size(-1); }
int64_t rows_of(const at::Tensor& x) { return x.numel() / size_of(x); }
int64_t tasks_of(const at::Tensor& x) { return (rows_of(x) + kGrain - 1) / kGrain; }

// Computes y or, if dy is given, dx and the sums of each task in dw [tasks, n].
at::Tensor run(const at::Tensor& x, const std::optional<at::Tensor>& weight, at::Tensor& rstd, double eps,
               const at::Tensor* dy, at::Tensor* dw) {
  at::Tensor out = at::empty_like(x);
  const int64_t size = size_of(x), bytes = x.element_size() * size;
  const char* x_data = static_cast<const char*>(x.const_data_ptr());
  const void* weight_data = weight ? weight->const_data_ptr() : nullptr;
  const char* dy_data = dy ? static_cast<const char*>(dy->const_data_ptr()) : nullptr;
  char* out_data = static_cast<char*>(out.mutable_data_ptr());
  float* rstd_data = rstd.mutable_data_ptr<float>();
  float* dw_data = dw ? dw->mutable_data_ptr<float>() : nullptr;
  at::parallel_for(0, tasks_of(x), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i * kGrain;
      NormTask t{x.scalar_type() == at::kFloat,
                 x_data + first * bytes,
                 weight_data,
                 out_data + first * bytes,
                 rstd_data + first,
                 std::min(kGrain, rows_of(x) - first),
                 size,
                 static_cast<float>(eps),
                 dy_data ? dy_data + first * bytes : nullptr,
                 dw_data ? dw_data + i * size : nullptr};
      GRAFT_DISPATCH(norm_rows, t);
    }
  });
  return out;
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  at::Tensor rstd = at::empty({rows_of(x)}, at::kFloat);
  at::Tensor y = run(x, weight, rstd, eps, nullptr, nullptr);
  return {y, rstd};
}

std::tuple<at::Tensor, at::Tensor> backward_cpu(const at::Tensor& dy, const at::Tensor& x,
                                                const std::optional<at::Tensor>& weight, const at::Tensor& rstd, bool dw) {
  at::Tensor kept = rstd;
  if (!dw) return {run(x, weight, kept, 0, &dy, nullptr), at::Tensor()};
  at::Tensor sums = at::zeros({tasks_of(x), size_of(x)}, at::kFloat);
  at::Tensor dx = run(x, weight, kept, 0, &dy, &sums);
  return {dx, sums.sum(0).to(x.scalar_type())};
}

std::optional<at::Tensor> contiguous(const std::optional<at::Tensor>& weight) {
  return weight && weight->defined() ? std::optional<at::Tensor>(weight->contiguous()) : std::nullopt;
}

std::tuple<at::Tensor, at::Tensor> checked(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  static const auto body = operator_of<decltype(forward_cpu)>("graft::rms_norm_forward");
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "f32 or bf16, got ", x.dtype());
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, "rms_norm wants a last dimension");
  if (weight) {
    TORCH_CHECK(weight->scalar_type() == x.scalar_type(), "weight ", weight->dtype(), " for x ", x.dtype());
    TORCH_CHECK(weight->dim() == 1 && weight->size(0) == x.size(-1), "weight ", weight->sizes(), " for x ", x.sizes());
  }
  return body.call(x, contiguous(weight), eps);
}

at::Tensor rms_norm(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  return std::get<0>(checked(x.contiguous(), weight, eps));
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& given,
                            const std::optional<at::Tensor>& weight, double eps) {
    at::AutoDispatchBelowAutograd below;
    const at::Tensor x = given.contiguous();
    auto [y, rstd] = checked(x, weight, eps);
    context->save_for_backward({x, weight ? *weight : at::Tensor(), rstd});
    context->saved_data["dw"] = weight && weight->requires_grad();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    static const auto body = operator_of<decltype(backward_cpu)>("graft::rms_norm_backward");
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    auto [dx, dw] =
        body.call(gradients[0].contiguous(), saved[0], contiguous(saved[1]), saved[2], context->saved_data["dw"].toBool());
    return {dx, dw, {}};
  }
};

at::Tensor rms_norm_autograd(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  if (!is_recording()) {
    at::AutoDispatchBelowAutograd below;
    return rms_norm(x, weight, eps);
  }
  return RmsNorm::apply(x, weight, eps);
}

}  // namespace
}  // namespace graft::norm

// the implementations expect contiguous, validated arguments: y and r; dx, and dw if it is needed
TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("rms_norm(Tensor x, Tensor? weight, float eps) -> Tensor");
  m.def("rms_norm_forward(Tensor x, Tensor? weight, float eps) -> (Tensor, Tensor)");
  m.def("rms_norm_backward(Tensor dy, Tensor x, Tensor? weight, Tensor r, bool dw) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("rms_norm_forward", graft::norm::forward_cpu);
  m.impl("rms_norm_backward", graft::norm::backward_cpu);
}
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("rms_norm", graft::norm::rms_norm); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("rms_norm", graft::norm::rms_norm_autograd); }
