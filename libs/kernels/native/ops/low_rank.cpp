// What adapters of low rank add to the rows of a product, each to its own rows, as answers in the making have it
// (arXiv:2310.18547):
//
//   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's
//
// y: [n, out]  x: [n, in], f32 or bf16  A_j: [r_j, in]  B_j: [out, r_j], f32. In bf16 A, B and x Aᵀ are rounded before
// they are multiplied, as by products in bf16; sums are f32, and y is rounded once. In place, no gradients. One call for
// all adapters: libtorch's operators take half a dozen for each of them.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isa.h"

namespace graft {
namespace {

struct LowRankTask {
  bool wide;  // y and x are f32, else bf16
  const void* x;
  void* y;
  const float *a, *b;
  float* low;  // x Aᵀ [rows][r, padded]
  int64_t rows, in, out, rank, first, end;  // columns of y
  float scale;
};

#define GRAFT_BODY "low_rank.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kGrain = 1 << 16;  // products of a thread at least
constexpr int64_t kBlock = 16;       // columns of y at once

void check(const at::Tensor& y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, int64_t start,
           int64_t count) {
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat &&
                  a.is_contiguous() && b.is_contiguous() && a.size(1) == x.size(1) && b.size(0) == y.size(1) &&
                  a.size(0) == b.size(1) && a.size(0) > 0,
              "factors ", a.sizes(), " and ", b.sizes(), " for x ", x.sizes(), " and y ", y.sizes());
  TORCH_CHECK(start >= 0 && count >= 0 && start + count <= x.size(0), "rows from ", start, ", ", count, " of them, of ",
              x.size(0));
}

at::Tensor& add_low_rank(at::Tensor& y, const at::Tensor& given, at::TensorList as, at::TensorList bs,
                         at::ArrayRef<double> scales, at::IntArrayRef rows) {
  const at::Tensor x = given.contiguous();
  TORCH_CHECK(y.dim() == 2 && x.dim() == 2 && y.size(0) == x.size(0) && y.is_contiguous() &&
                  y.scalar_type() == x.scalar_type() &&
                  (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
              "expected y [n, out] and x [n, in] in f32 or bf16, got ", y.sizes(), " and ", x.sizes());
  TORCH_CHECK(as.size() == bs.size() && as.size() == scales.size() && rows.size() == 2 * as.size(),
              "expected factors, a scale and rows for each adapter");
  const int64_t in = x.size(1), out = y.size(1), width = x.element_size(), blocks = (out + kBlock - 1) / kBlock;
  const int64_t count = as.size();
  int64_t ranks = 0, most = 0, all = 0;
  for (int64_t j = 0; j < count; j++) {
    check(y, x, as[j], bs[j], rows[2 * j], rows[2 * j + 1]);
    ranks = std::max(ranks, as[j].size(0));
    most = std::max(most, rows[2 * j + 1]);
    all += rows[2 * j + 1] * as[j].size(0);
  }
  if (all == 0 || out == 0) return y;
  const char* from = static_cast<const char*>(x.const_data_ptr());
  char* to = static_cast<char*>(y.mutable_data_ptr());
  const int64_t padded = (ranks + 15) / 16 * 16, room = most * padded;
  std::vector<float> low(count * room);
  auto task = [&](int64_t j, int64_t first, int64_t end) {
    const int64_t start = rows[2 * j];
    return LowRankTask{width == 4,
                       from + start * in * width,
                       to + start * out * width,
                       as[j].const_data_ptr<float>(),
                       bs[j].const_data_ptr<float>(),
                       low.data() + j * room,
                       rows[2 * j + 1],
                       in,
                       out,
                       as[j].size(0),
                       first,
                       end,
                       static_cast<float>(scales[j])};
  };
  const int64_t cost = std::max<int64_t>(1, all / count * in);
  at::parallel_for(0, count, std::max<int64_t>(1, kGrain / cost), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++) GRAFT_DISPATCH(low_rank_down, task(j, 0, 0));
  });
  const int64_t each = std::max<int64_t>(1, all / count * kBlock);
  at::parallel_for(0, count * blocks, std::max<int64_t>(1, kGrain / each), [&](int64_t begin, int64_t end) {
    std::vector<float> rows_of_b(kBlock * padded);
    for (int64_t at = begin; at < end;) {
      const int64_t j = at / blocks, block = at % blocks, past = std::min(blocks, block + end - at);
      const LowRankTask t = task(j, block * kBlock, std::min(out, past * kBlock));
      GRAFT_DISPATCH(low_rank_up, t, rows_of_b.data());
      at += past - block;
    }
  });
  return y;
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("add_low_rank_(Tensor(a!) y, Tensor x, Tensor[] a, Tensor[] b, float[] scales, int[] rows) -> Tensor(a!)");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("add_low_rank_", graft::add_low_rank); }
