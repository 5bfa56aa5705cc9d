// RMSNorm (arXiv:1910.07467) as Hugging Face's LLaMA takes it, over the last dimension of n elements.
//
//   r = 1 / sqrt(mean(x²) + eps)     y = w ⊙ cast(x r)          in f32, rounded to x's dtype before w
//   g = w ⊙ dy                       dx = r (g - x r² · mean(g ⊙ x))     dw = Σ_rows dy ⊙ x r
//
// x, y: [..., n]  w: [n] in x's dtype, f32 or bf16. Kept for the backward pass: x and r.
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

namespace graft {
namespace {

struct NormTask {
  bool wide;  // f32, else bf16
  const void *x, *weight;
  void* out;
  float* rstd;
  int64_t rows, size;
  float eps;
  const void* dy;  // backward only
  float* dw;       // sums of these rows, or none
};

#define GRAFT_BODY "norm.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kGrain = 64;  // rows of one task; dw is summed by tasks, so it does not depend on threads

struct Norm {
  at::Tensor x, weight, rstd;
  double eps;

  Norm(const at::Tensor& x_, const std::optional<at::Tensor>& weight_, double eps_) : x(x_.contiguous()), eps(eps_) {
    TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "f32 or bf16, got ", x.dtype());
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, "rms_norm wants a last dimension");
    if (!weight_) return;
    weight = weight_->contiguous();
    TORCH_CHECK(weight.scalar_type() == x.scalar_type(), "weight ", weight.dtype(), " for x ", x.dtype());
    TORCH_CHECK(weight.dim() == 1 && weight.size(0) == x.size(-1), "weight ", weight.sizes(), " for x ", x.sizes());
  }

  int64_t size() const { return x.size(-1); }
  int64_t rows() const { return x.numel() / size(); }
  int64_t tasks() const { return (rows() + kGrain - 1) / kGrain; }

  // y, or with dy: dx, and into dw [tasks, n] the sums of each task
  at::Tensor run(const at::Tensor* dy, at::Tensor* dw) {
    at::Tensor out = at::empty_like(x);
    if (!rstd.defined()) rstd = at::empty({rows()}, at::kFloat);
    const int64_t bytes = x.element_size() * size();
    const char* x_data = static_cast<const char*>(x.const_data_ptr());
    const void* weight_data = weight.defined() ? weight.const_data_ptr() : nullptr;
    const char* dy_data = dy ? static_cast<const char*>(dy->const_data_ptr()) : nullptr;
    char* out_data = static_cast<char*>(out.mutable_data_ptr());
    float* rstd_data = rstd.mutable_data_ptr<float>();
    float* dw_data = dw ? dw->mutable_data_ptr<float>() : nullptr;
    at::parallel_for(0, tasks(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * kGrain;
        NormTask t{x.scalar_type() == at::kFloat,
                   x_data + first * bytes,
                   weight_data,
                   out_data + first * bytes,
                   rstd_data + first,
                   std::min(kGrain, rows() - first),
                   size(),
                   static_cast<float>(eps),
                   dy_data ? dy_data + first * bytes : nullptr,
                   dw_data ? dw_data + i * size() : nullptr};
        GRAFT_DISPATCH(norm_rows, t);
      }
    });
    return out;
  }
};

at::Tensor rms_norm_cpu(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  return Norm(x, weight, eps).run(nullptr, nullptr);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& weight, double eps) {
    at::AutoDispatchBelowAutograd below;
    Norm norm(x, weight, eps);
    at::Tensor y = norm.run(nullptr, nullptr);
    context->save_for_backward({norm.x, norm.weight, norm.rstd});
    context->saved_data["eps"] = eps;
    context->saved_data["dw"] = weight && weight->requires_grad();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    const at::Tensor& weight = saved[1];
    Norm norm(saved[0], weight.defined() ? std::optional<at::Tensor>(weight) : std::nullopt,
              context->saved_data["eps"].toDouble());
    norm.rstd = saved[2];
    const at::Tensor dy = gradients[0].contiguous();
    if (!context->saved_data["dw"].toBool()) return {norm.run(&dy, nullptr), {}, {}};
    at::Tensor sums = at::zeros({norm.tasks(), norm.size()}, at::kFloat);
    at::Tensor dx = norm.run(&dy, &sums);
    return {dx, sums.sum(0).to(weight.scalar_type()), {}};
  }
};

at::Tensor rms_norm_autograd(const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  return RmsNorm::apply(x, weight, eps);
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) { m.def("rms_norm(Tensor x, Tensor? weight, float eps) -> Tensor"); }
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("rms_norm", graft::rms_norm_cpu); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("rms_norm", graft::rms_norm_autograd); }
