// A frozen linear with a low-rank update (LoRA, arXiv:2106.09685) as one operator.
//
//   y = x Wᵀ + c + s l B'ᵀ      l = x A'ᵀ        A', B' : A and B in x's dtype
//   e = s dy B'     dx = dy W + e A'     dA = eᵀ x     dB = s dyᵀ l     dc = Σ dy where c is trained
//
// x: [n, in]  W: [out, in]  c: [out]  A: [r, in]  B: [out, r].  Autograd over single products would keep and add a
// gradient of x for each of them; here the second product is added in place, and x and l alone are kept.
#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>

namespace graft {
namespace {

struct Product {
  at::Tensor y, low, a, b;
};

Product multiply(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const at::Tensor& a,
                 const at::Tensor& b, double scale) {
  TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && a.dim() == 2 && b.dim() == 2, "lora_linear wants matrices");
  TORCH_CHECK(a.size(1) == x.size(1) && b.size(0) == weight.size(0) && b.size(1) == a.size(0), "A ", a.sizes(), " and B ",
              b.sizes(), " do not fit W ", weight.sizes());
  Product p;
  p.a = a.to(x.scalar_type());
  p.b = b.to(x.scalar_type());
  p.low = at::mm(x, p.a.t());
  p.y = at::linear(x, weight, bias);
  p.y.addmm_(p.low, p.b.t(), 1, scale);
  return p;
}

struct LoraLinear : torch::autograd::Function<LoraLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const at::Tensor& a, const at::Tensor& b, double scale) {
    at::AutoDispatchBelowAutograd below;
    TORCH_CHECK(!weight.requires_grad(), "lora_linear: the weight must be frozen");
    Product p = multiply(x, weight, bias, a, b, scale);
    context->save_for_backward({x, weight, p.low, p.a, p.b});
    context->saved_data["scale"] = scale;
    context->saved_data["dtypes"] = std::vector<int64_t>{static_cast<int64_t>(a.scalar_type()), static_cast<int64_t>(b.scalar_type())};
    context->saved_data["dx"] = x.requires_grad();
    context->saved_data["dc"] = bias && bias->requires_grad();
    return p.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &low = saved[2], &a = saved[3], &b = saved[4];
    const double scale = context->saved_data["scale"].toDouble();
    const auto dtypes = context->saved_data["dtypes"].toIntVector();
    const at::Tensor& dy = gradients[0];
    const at::Tensor e = at::mm(dy, b).mul_(scale);
    at::Tensor dx, dc;
    if (context->saved_data["dx"].toBool()) dx = at::mm(dy, weight).addmm_(e, a);
    if (context->saved_data["dc"].toBool()) dc = dy.sum(0);
    // [r, n] times wide rows: the shape that libtorch multiplies best
    const at::Tensor da = at::mm(e.t(), x).to(static_cast<at::ScalarType>(dtypes[0]));
    const at::Tensor db = at::mm(low.t(), dy).t().to(static_cast<at::ScalarType>(dtypes[1])).mul_(scale);
    return {dx, {}, dc, da, db, {}};
  }
};

at::Tensor lora_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias, const at::Tensor& a,
                       const at::Tensor& b, double scale) {
  return multiply(x, weight, bias, a, b, scale).y;
}

at::Tensor lora_linear_autograd(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                                const at::Tensor& a, const at::Tensor& b, double scale) {
  return LoraLinear::apply(x, weight, bias, a, b, scale);
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("lora_linear(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, float scale) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("lora_linear", graft::lora_linear); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("lora_linear", graft::lora_linear_autograd); }
