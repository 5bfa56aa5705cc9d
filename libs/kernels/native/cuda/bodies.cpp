// Shapes and formulas are in native/ops, which has checked the arguments.
#include "bodies.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <optional>
#include <tuple>

namespace graft::cuda {
namespace {

using at::Tensor;

at::TensorOptions in_f32(const Tensor& x) { return x.options().dtype(at::kFloat); }

Tensor gate_forward(const Tensor& gate, const Tensor& up) {
  const On on(gate);
  Tensor y = at::empty_like(gate);
  by_kind(gate, [&](auto kind) {
    using T = decltype(kind);
    silu_mul(data<T>(gate), data<T>(up), data<T>(y), gate.numel(), on.stream());
  });
  return y;
}

std::tuple<Tensor, Tensor> gate_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  const On on(gate);
  Tensor dg = at::empty_like(gate), du = at::empty_like(up);
  by_kind(gate, [&](auto kind) {
    using T = decltype(kind);
    silu_mul_backward(data<T>(dy), data<T>(gate), data<T>(up), data<T>(dg), data<T>(du), gate.numel(), on.stream());
  });
  return {dg, du};
}

Tensor rotated(const Tensor& x, const Tensor& cos, const Tensor& sin, double sign) {
  const On on(x);
  Tensor y = at::empty(x.sizes(), x.options());
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    rotate(data<T>(x), data<T>(cos), data<T>(sin), data<T>(y), x.size(0), x.size(1), x.size(2), x.stride(0),
           static_cast<float>(sign), on.stream());
  });
  return y;
}

std::tuple<Tensor, Tensor> norm_forward(const Tensor& x, const std::optional<Tensor>& weight, double eps) {
  const On on(x);
  const int64_t size = x.size(-1), rows = x.numel() / size;
  Tensor y = at::empty_like(x), rstd = at::empty({rows}, in_f32(x));
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    rms_norm(data<T>(x), weight ? data<T>(*weight) : nullptr, data<T>(y), data<float>(rstd), rows, size,
             static_cast<float>(eps), on.stream());
  });
  return {y, rstd};
}

std::tuple<Tensor, Tensor> norm_backward(const Tensor& dy, const Tensor& x, const std::optional<Tensor>& weight,
                                         const Tensor& rstd, bool wants_weight) {
  const On on(x);
  const int64_t size = x.size(-1), rows = x.numel() / size;
  Tensor dx = at::empty_like(x), dw;
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    rms_norm_backward(data<T>(dy), data<T>(x), weight ? data<T>(*weight) : nullptr, data<float>(rstd), data<T>(dx), rows,
                      size, on.stream());
    if (!wants_weight) return;
    Tensor sums = at::empty({(rows + kNormRows - 1) / kNormRows, size}, in_f32(x));
    rms_norm_weight(data<T>(dy), data<T>(x), data<float>(rstd), data<float>(sums), rows, size, on.stream());
    dw = sums.sum(0).to(x.scalar_type());
  });
  return {dx, dw};
}

std::tuple<Tensor, Tensor> loss_rows(Tensor logits, const Tensor& labels, const std::optional<Tensor>& scales) {
  const On on(logits);
  const int64_t rows = logits.size(0), classes = logits.size(1);
  Tensor losses = at::empty({rows}, in_f32(logits)), right = at::empty({rows}, logits.options().dtype(at::kBool));
  by_kind(logits, [&](auto kind) {
    using T = decltype(kind);
    cross_entropy(data<T>(logits), data<int64_t>(labels), scales ? data<float>(*scales) : nullptr, data<float>(losses),
                  data<bool>(right), rows, classes, on.stream());
  });
  return {losses, right};
}

// libtorch multiplies with the result, through cuBLAS (packed_matrix.cpp).
void dense(Tensor out, const Tensor& numbers, const Tensor& absmax, const std::optional<Tensor>& nested_absmax,
           const std::optional<Tensor>& nested_code, double offset, int64_t blocksize, int64_t nested_blocksize,
           c10::ArrayRef<double> code, int64_t columns, c10::IntArrayRef tile) {
  const On on(numbers);
  const bool nested = nested_absmax.has_value();
  Nf4Numbers w{data<uint8_t>(numbers),
                     nested ? nullptr : data<float>(absmax),
                     nested ? data<uint8_t>(absmax) : nullptr,
                     nested ? data<float>(*nested_absmax) : nullptr,
                     nested ? data<float>(*nested_code) : nullptr,
                     static_cast<float>(offset),
                     blocksize,
                     nested_blocksize,
                     columns,
                     {}};
  for (int i = 0; i < kCodes; i++) w.code[i] = static_cast<float>(code[i]);
  by_kind(out, [&](auto kind) {
    nf4_dense(w, data<decltype(kind)>(out), tile[0], tile[1], tile[2], tile[3], on.stream());
  });
}

}  // namespace

void add_bodies(torch::Library& m) {
  m.impl("silu_mul_forward", gate_forward);
  m.impl("silu_mul_backward", gate_backward);
  m.impl("rotate", rotated);
  m.impl("rms_norm_forward", norm_forward);
  m.impl("rms_norm_backward", norm_backward);
  m.impl("cross_entropy_rows_", loss_rows);
  m.impl("nf4_dense_", dense);
  add_attention(m);
}

}  // namespace graft::cuda
