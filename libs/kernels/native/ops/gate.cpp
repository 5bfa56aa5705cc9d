// Gated activation of LLaMA's feed-forward network (SwiGLU, arXiv:2002.05202), in f32, rounded once.
//
//   y = silu(g) ⊙ u      silu(g) = g σ(g)
//   dg = dy ⊙ u ⊙ σ (1 + g (1 - σ))      du = dy ⊙ silu(g)
//
// Only g and u are saved for the backward pass.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdint>
#include <tuple>

#include "operator.h"

namespace graft::gate {
namespace {

struct GateTask {
  bool wide;  // f32, otherwise bf16
  const void *gate, *up, *dy;
  void *first, *second;  // y and null, or dg and du
  int64_t count;
};

#define GRAFT_BODY "gate.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

constexpr int64_t kGrain = 1 << 14;

void run(const at::Tensor& gate, const at::Tensor& up, const at::Tensor* dy, at::Tensor& first, at::Tensor* second) {
  const int64_t bytes = gate.element_size();
  auto at_element = [bytes](const at::Tensor* x, int64_t i) {
    return x ? static_cast<char*>(const_cast<void*>(x->const_data_ptr())) + i * bytes : nullptr;
  };
  at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
    GateTask t{gate.scalar_type() == at::kFloat, at_element(&gate, begin),  at_element(&up, begin),
               at_element(dy, begin),            at_element(&first, begin), at_element(second, begin),
               end - begin};
    GRAFT_DISPATCH(gate_part, t);
  });
}

void check(const at::Tensor& gate, const at::Tensor& up) {
  TORCH_CHECK(gate.scalar_type() == at::kFloat || gate.scalar_type() == at::kBFloat16, "f32 or bf16, got ", gate.dtype());
  TORCH_CHECK(gate.scalar_type() == up.scalar_type(), "gate ", gate.dtype(), ", up ", up.dtype());
  TORCH_CHECK(gate.sizes() == up.sizes(), "gate ", gate.sizes(), ", up ", up.sizes());
}

at::Tensor forward_cpu(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor y = at::empty_like(gate);
  run(gate, up, nullptr, y, nullptr);
  return y;
}

std::tuple<at::Tensor, at::Tensor> backward_cpu(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor dg = at::empty_like(gate), du = at::empty_like(up);
  run(gate, up, &dy, dg, &du);
  return {dg, du};
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  static const auto body = operator_of<decltype(forward_cpu)>("graft::silu_mul_forward");
  check(gate, up);
  return body.call(gate.contiguous(), up.contiguous());
}

struct SiluMul : torch::autograd::Function<SiluMul> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    at::AutoDispatchBelowAutograd below;
    context->save_for_backward({gate, up});
    return silu_mul(gate, up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    static const auto body = operator_of<decltype(backward_cpu)>("graft::silu_mul_backward");
    const auto [dg, du] = body.call(gradients[0].contiguous(), saved[0].contiguous(), saved[1].contiguous());
    return {dg, du};
  }
};

at::Tensor silu_mul_autograd(const at::Tensor& gate, const at::Tensor& up) {
  if (!is_recording()) {
    at::AutoDispatchBelowAutograd below;
    return silu_mul(gate, up);
  }
  return SiluMul::apply(gate, up);
}

}  // namespace
}  // namespace graft::gate

// the implementations expect contiguous, validated arguments
TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("silu_mul(Tensor gate, Tensor up) -> Tensor");
  m.def("silu_mul_forward(Tensor gate, Tensor up) -> Tensor");
  m.def("silu_mul_backward(Tensor dy, Tensor gate, Tensor up) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("silu_mul_forward", graft::gate::forward_cpu);
  m.impl("silu_mul_backward", graft::gate::backward_cpu);
}
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("silu_mul", graft::gate::silu_mul); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("silu_mul", graft::gate::silu_mul_autograd); }
