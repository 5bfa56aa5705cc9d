// Rotary position embeddings (arXiv:2104.09864) in halves, in f32, rounded once.
//
//   y = x ⊙ cos + [x₂ ; x₁] ⊙ sin      x = [x₁ ; x₂]      sin = [-sin(t f) ; sin(t f)]
//
// The gradient rotates dy back, which is the same with -sin.  x: [T, heads, d]  cos, sin: [T, 1, d]
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdint>

#include "operator.h"

namespace graft::rotary {
namespace {

struct RotaryTask {
  bool wide;  // f32, otherwise bf16
  const void *x, *cos, *sin;
  void* y;
  int64_t rows, heads, size, stride;
  float sign;
};

#define GRAFT_BODY "rotary.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

at::Tensor rotate_cpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double sign) {
  at::Tensor y = at::empty(x.sizes(), x.options());
  const int64_t heads = x.size(1), size = x.size(2), bytes = x.element_size();
  auto from = [bytes](const at::Tensor& t, int64_t i) { return static_cast<const char*>(t.const_data_ptr()) + i * bytes; };
  char* out = static_cast<char*>(y.mutable_data_ptr());
  at::parallel_for(0, x.size(0), 64, [&](int64_t begin, int64_t end) {
    RotaryTask t{x.scalar_type() == at::kFloat,
                 from(x, begin * x.stride(0)),
                 from(cos, begin * size),
                 from(sin, begin * size),
                 out + begin * heads * size * bytes,
                 end - begin,
                 heads,
                 size,
                 x.stride(0),
                 static_cast<float>(sign)};
    GRAFT_DISPATCH(rotate_rows, t);
  });
  return y;
}

at::Tensor rotated(const at::Tensor& given, const at::Tensor& cos, const at::Tensor& sin, double sign) {
  TORCH_CHECK(given.dim() == 3 && given.size(2) % 2 == 0, "rotary wants [rows, heads, even size], got ", given.sizes());
  TORCH_CHECK(given.scalar_type() == at::kFloat || given.scalar_type() == at::kBFloat16, "f32 or bf16, got ", given.dtype());
  TORCH_CHECK(cos.numel() == given.size(0) * given.size(2) && sin.numel() == cos.numel(), "tables ", cos.sizes(), " and ",
              sin.sizes(), " for x ", given.sizes());
  TORCH_CHECK(cos.scalar_type() == given.scalar_type() && sin.scalar_type() == given.scalar_type(), "one dtype for all");
  TORCH_CHECK(cos.is_contiguous() && sin.is_contiguous(), "tables must be contiguous");
  static const auto body = operator_of<decltype(rotate_cpu)>("graft::rotate");
  return body.call(given.stride(2) == 1 && given.stride(1) == given.size(2) ? given : given.contiguous(), cos, sin, sign);
}

at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) { return rotated(x, cos, sin, 1); }

struct Rotary : torch::autograd::Function<Rotary> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    at::AutoDispatchBelowAutograd below;
    context->save_for_backward({cos, sin});
    return rotated(x, cos, sin, 1);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    return {rotated(gradients[0], saved[0], saved[1], -1), {}, {}};
  }
};

at::Tensor rotary_autograd(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (!is_recording()) {
    at::AutoDispatchBelowAutograd below;
    return rotary(x, cos, sin);
  }
  return Rotary::apply(x, cos, sin);
}

}  // namespace
}  // namespace graft::rotary

// the implementations expect an x with contiguous rows and validated arguments; sign: sign of sin
TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("rotary(Tensor x, Tensor cos, Tensor sin) -> Tensor");
  m.def("rotate(Tensor x, Tensor cos, Tensor sin, float sign) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("rotate", graft::rotary::rotate_cpu); }
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("rotary", graft::rotary::rotary); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("rotary", graft::rotary::rotary_autograd); }
