// Rows scaled by a trainable f32 vector, as in (IA)³ (arXiv:2205.05638), in f32, rounded once.
//
//   y = x ⊙ s      dx = dy ⊙ s      ds = Σ_rows dy ⊙ x
//
// x: [.., n] f32 or bf16, s: [n] f32. x and s are saved for the backward pass. libtorch's product of bf16 and
// f32 converts everything to f32 first, three times in the backward pass.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>

namespace graft::scale {
namespace {

struct ScaleTask {
  bool wide;  // f32, otherwise bf16
  const void* x;
  const float* scale;
  const void* dy;  // backward only
  void* out;       // y, or dx
  float* ds;       // sums of these rows; backward only
  int64_t rows, size;
};

#define GRAFT_BODY "scale.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

constexpr int64_t kGrain = 64;  // rows per task; ds is summed by task, so it does not depend on threads

int64_t tasks_of(const at::Tensor& x) { return (x.numel() / x.size(-1) + kGrain - 1) / kGrain; }

// Computes y or, if dy is given, dx and the sums of each task in ds [tasks, n].
at::Tensor run(const at::Tensor& x, const at::Tensor& scale, const at::Tensor* dy, at::Tensor* ds) {
  at::Tensor out = at::empty_like(x);
  const int64_t size = x.size(-1), rows = x.numel() / size, bytes = x.element_size() * size;
  const char* x_data = static_cast<const char*>(x.const_data_ptr());
  const char* dy_data = dy ? static_cast<const char*>(dy->const_data_ptr()) : nullptr;
  const float* scale_data = scale.const_data_ptr<float>();
  char* out_data = static_cast<char*>(out.mutable_data_ptr());
  float* ds_data = ds ? ds->mutable_data_ptr<float>() : nullptr;
  at::parallel_for(0, tasks_of(x), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i * kGrain;
      ScaleTask t{x.scalar_type() == at::kFloat,
                  x_data + first * bytes,
                  scale_data,
                  dy_data ? dy_data + first * bytes : nullptr,
                  out_data + first * bytes,
                  ds_data ? ds_data + i * size : nullptr,
                  std::min(kGrain, rows - first),
                  size};
      GRAFT_DISPATCH(scale_rows, t);
    }
  });
  return out;
}

void check(const at::Tensor& x, const at::Tensor& scale) {
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "f32 or bf16, got ", x.dtype());
  TORCH_CHECK(scale.scalar_type() == at::kFloat, "the scale wants f32, got ", scale.dtype());
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, "scale_rows wants a last dimension");
  TORCH_CHECK(scale.dim() == 1 && scale.size(0) == x.size(-1), "scale ", scale.sizes(), " for x ", x.sizes());
}

at::Tensor scale_rows_cpu(const at::Tensor& x, const at::Tensor& scale) {
  check(x, scale);
  return run(x.contiguous(), scale.contiguous(), nullptr, nullptr);
}

struct ScaleRows : torch::autograd::Function<ScaleRows> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& scale) {
    at::AutoDispatchBelowAutograd below;
    context->save_for_backward({x, scale});
    return scale_rows_cpu(x, scale);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    const at::Tensor x = saved[0].contiguous(), scale = saved[1].contiguous(), dy = gradients[0].contiguous();
    at::Tensor sums = at::zeros({tasks_of(x), x.size(-1)}, at::kFloat);
    at::Tensor dx = run(x, scale, &dy, &sums);
    return {dx, sums.sum(0)};
  }
};

at::Tensor scale_rows_autograd(const at::Tensor& x, const at::Tensor& scale) { return ScaleRows::apply(x, scale); }

}  // namespace
}  // namespace graft::scale

TORCH_LIBRARY_FRAGMENT(graft, m) { m.def("scale_rows(Tensor x, Tensor scale) -> Tensor"); }
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("scale_rows", graft::scale::scale_rows_cpu); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("scale_rows", graft::scale::scale_rows_autograd); }
