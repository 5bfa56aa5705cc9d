// See packed_matrix.h.
#include "packed_matrix.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "few_rows.h"
#include "operator.h"
#include "packed_product.h"

namespace graft {
namespace {

constexpr int64_t kDenseAtOnce = 1 << 20;  // values expanded at a time

bool in_bf16(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kBFloat16 && x.numel() > 0; }

// Returns x with contiguous rows, as our products need it.
at::Tensor in_rows(const at::Tensor& x) { return x.stride(1) == 1 && x.stride(0) >= x.size(1) ? x : x.contiguous(); }

at::Tensor by_panels(const PackedMatrix& w, const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  at::Tensor y = at::empty({x.size(0), w.rows}, x.options());
  const int64_t step = std::max<int64_t>(1, kDenseAtOnce / w.columns);
  for (int64_t r = 0; r < w.rows; r += step) {
    const int64_t rows = std::min(step, w.rows - r);
    const at::Tensor panel = w.dense({r, rows, 0, w.columns}, x.scalar_type());
    const bool biased = bias && bias->defined();
    const auto part = biased ? std::optional<at::Tensor>(bias->narrow(0, r, rows)) : std::nullopt;
    const at::Tensor product = at::linear(x, panel, part);
    if (rows == w.rows) return product;
    y.narrow(1, r, rows).copy_(product);
  }
  return y;
}

at::Tensor back_by_panels(const PackedMatrix& w, const at::Tensor& dy) {
  at::Tensor dx = at::empty({dy.size(0), w.columns}, dy.options());
  const int64_t step = std::max<int64_t>(1, kDenseAtOnce / w.rows / kTileColumns) * kTileColumns;
  for (int64_t c = 0; c < w.columns; c += step) {
    const int64_t columns = std::min(step, w.columns - c);
    const at::Tensor product = at::mm(dy, w.dense({0, w.rows, c, columns}, dy.scalar_type()));
    if (columns == w.columns) return product;
    dx.narrow(1, c, columns).copy_(product);
  }
  return dx;
}

at::Tensor multiply_back(const PackedMatrix& w, const at::Tensor& dy) {
  if (in_bf16(dy) && has_packed_product()) return packed_product(in_rows(dy), w, false, {});
  return back_by_panels(w, dy);
}

struct PackedLinear : torch::autograd::Function<PackedLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const Packed& w,
                            const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowAutograd below;
    context->saved_data["w"] = c10::IValue::make_capsule(w);
    context->saved_data["dx"] = x.requires_grad();
    context->saved_data["dc"] = bias && bias->requires_grad();
    return multiply(*w, x, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    auto& data = context->saved_data;
    const auto w = c10::static_intrusive_pointer_cast<PackedMatrix>(data["w"].toCapsule());
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dx, dc;
    if (data["dx"].toBool()) dx = multiply_back(*w, dy);
    if (data["dc"].toBool()) dc = dy.sum(0);
    return {dx, {}, dc};
  }
};

}  // namespace

at::Tensor multiply(const PackedMatrix& w, const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(x.dim() == 2 && x.size(1) == w.columns, "x [n, ", w.columns, "] for W [", w.rows, ", ", w.columns,
              "], got ", x.sizes());
  const at::Tensor* added = bias && bias->defined() ? &*bias : nullptr;
  const bool fits = !added || (added->scalar_type() == at::kBFloat16 && added->dim() == 1 && added->is_contiguous());
  if (in_bf16(x) && fits) {
    if (is_few(x.size(0))) return few_rows_product(in_rows(x), w, added);
    if (has_packed_product()) return packed_product(in_rows(x), w, true, {added});
  }
  return by_panels(w, x, bias);
}

at::Tensor multiply_autograd(const Packed& w, const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  if (!is_recording()) {
    at::AutoDispatchBelowAutograd below;
    return multiply(*w, x, bias);
  }
  return PackedLinear::apply(x, w, bias);
}

}  // namespace graft
