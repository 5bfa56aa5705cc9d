// What adapters of low rank add to the rows of products, each to its own rows, as answers in the making have it
// (arXiv:2310.18547):
//
//   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
//
// x: [n, in]  y: [n, out] of each product that reads x, f32 or bf16  A_j: [r_j, in]  B_j: [out, r_j], f32; or, beside x in
// bf16, both bf16 and B lying as Bᵀ does: half of what there is to read. In bf16 factors in f32 are rounded before they are
// multiplied, with the bits of factors in bf16, and so is x Aᵀ; sums are f32, and y is rounded once. In place, no gradients.
// One call for all adapters: libtorch's operators take half a dozen for each of them. Factors are told by where they begin
// in tensors that may hold many: to look at a tensor for each of them would take as long as the products (docs/log.md).
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "few_rows.h"
#include "isa.h"

namespace graft::low_rank {
namespace {

// An adapter's rows of a product.
struct LowRankTask {
  bool wide;     // y and x are f32, else bf16
  bool rounded;  // A and B are bf16
  const void* x;
  void* y;
  const void *a, *b;
  int64_t rows, in, out, rank;
  float scale;
};

// What a thread writes down meanwhile.
struct LowRankScratch {
  std::vector<float> low;         // x Aᵀ [rows][rank]
  std::vector<float> columns;     // of Bᵀ, [rank][a vector]
  std::vector<uint16_t> rounded;  // x Aᵀ again
  std::vector<uint16_t> lines;    // of A
};

#define GRAFT_BODY "low_rank.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kGrain = 1 << 16;  // numbers of factors that a thread reads at least, or products by eight times them
constexpr int64_t kRows = 64;        // of an adapter, in one task: threads share out a long prompt

void check(const at::Tensor& y, const at::Tensor& x) {
  TORCH_CHECK(y.dim() == 2 && x.dim() == 2 && y.size(0) == x.size(0) && y.is_contiguous() &&
                  y.scalar_type() == x.scalar_type() &&
                  (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
              "expected y [n, out] and x [n, in] in f32 or bf16, got ", y.sizes(), " and ", x.sizes());
}

// Of an adapter in the list of places.
struct Place {
  int64_t product, start, rows, rank, a, a_at, b, b_at;  // numbers of tensors, and how many numbers of them come before
};
constexpr size_t kPlace = sizeof(Place) / sizeof(int64_t);

const char* factor(at::TensorList tensors, int64_t number, int64_t at, int64_t lines, int64_t length) {
  TORCH_CHECK(number >= 0 && number < static_cast<int64_t>(tensors.size()), "factor in tensor ", number, " of ",
              tensors.size());
  const at::Tensor& t = tensors[number];
  // one that lies in a tensor of its own is all of it
  const bool fits = t.dim() == 2 ? at == 0 && lines * length == t.numel() : at >= 0 && at + lines * length <= t.numel();
  TORCH_CHECK(fits && t.is_contiguous(), "a factor of ", lines, " times ", length, " numbers from ", at, " on in ",
              t.dtype(), " ", t.sizes());
  return static_cast<const char*>(t.const_data_ptr()) + at * t.element_size();
}

LowRankTask task_of(const Place& place, at::TensorList ys, const at::Tensor& x, at::TensorList tensors, double scale) {
  TORCH_CHECK(place.product >= 0 && place.product < static_cast<int64_t>(ys.size()), "product ", place.product, " of ",
              ys.size());
  TORCH_CHECK(place.start >= 0 && place.rows >= 0 && place.start + place.rows <= x.size(0), "rows from ", place.start, ", ",
              place.rows, " of them, of ", x.size(0));
  TORCH_CHECK(place.rank > 0, "rank ", place.rank);
  const at::Tensor& y = ys[place.product];
  const int64_t width = x.element_size(), in = x.size(1), out = y.size(1);
  const void* a = factor(tensors, place.a, place.a_at, place.rank, in);
  const void* b = factor(tensors, place.b, place.b_at, place.rank, out);
  const auto type = tensors[place.a].scalar_type();
  TORCH_CHECK(tensors[place.b].scalar_type() == type && (type == at::kFloat || (type == at::kBFloat16 && width == 2)),
              "factors ", tensors[place.a].dtype(), " and ", tensors[place.b].dtype(), " beside x ", x.dtype());
  return {width == 4, type == at::kBFloat16, static_cast<const char*>(x.const_data_ptr()) + place.start * in * width,
          static_cast<char*>(y.mutable_data_ptr()) + place.start * out * width, a, b, place.rows, in, out, place.rank,
          static_cast<float>(scale)};
}

std::vector<LowRankTask> tasks_of(at::TensorList ys, const at::Tensor& x, at::TensorList tensors,
                                  at::ArrayRef<double> scales, const Place* places) {
  std::vector<LowRankTask> tasks;
  tasks.reserve(scales.size());
  for (size_t j = 0; j < scales.size(); j++) {
    const LowRankTask all = task_of(places[j], ys, x, tensors, scales[j]);
    const int64_t width = x.element_size();
    for (int64_t first = 0; first < all.rows; first += kRows) {
      LowRankTask some = all;
      some.x = static_cast<const char*>(all.x) + first * all.in * width;
      some.y = static_cast<char*>(all.y) + first * all.out * width;
      some.rows = std::min(kRows, all.rows - first);
      tasks.push_back(some);
    }
  }
  // an adapter's factors of several products lie one after the other in memory
  std::stable_sort(tasks.begin(), tasks.end(), [](const LowRankTask& s, const LowRankTask& t) { return s.x < t.x; });
  return tasks;
}

void add_low_rank(at::TensorList ys, const at::Tensor& given, at::TensorList factors, at::ArrayRef<double> scales,
                  at::IntArrayRef places) {
  const at::Tensor x = given.contiguous();
  for (const at::Tensor& y : ys) check(y, x);
  TORCH_CHECK(places.size() == kPlace * scales.size(), "expected a scale and a place for each adapter");
  const std::vector<LowRankTask> tasks =
      tasks_of(ys, x, factors, scales, reinterpret_cast<const Place*>(places.data()));
  std::vector<int64_t> before;  // numbers of factors before each task's, with those that more rows come to
  int64_t all = 0;
  for (const LowRankTask& t : tasks) {
    before.push_back(all);
    all += t.rank * (t.in + t.out) * (1 + t.rows / 8);
  }
  at::parallel_for(0, all, kGrain, [&](int64_t begin, int64_t end) {
    LowRankScratch scratch;
    size_t j = std::lower_bound(before.begin(), before.end(), begin) - before.begin();
    for (; j < tasks.size() && before[j] < end; j++)
      GRAFT_DISPATCH(low_rank, tasks[j], scratch);
  });
}

}  // namespace
}  // namespace graft::low_rank

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("add_low_rank_(Tensor(a!)[] y, Tensor x, Tensor[] factors, float[] scales, int[] places) -> ()");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("add_low_rank_", graft::low_rank::add_low_rank); }
