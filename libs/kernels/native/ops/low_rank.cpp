// Adds low-rank adapters to rows of products, each adapter to its own rows, during generation (arXiv:2310.18547):
//
//   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
//
// x: [n, in]  y: [n, out] of each product of x, f32 or bf16  A_j: [r_j, in]  B_j: [out, r_j], f32. If x is bf16, both may
// be bf16 with B stored as Bᵀ, which halves the memory to read. With bf16 x, f32 factors are rounded before they are
// multiplied, with the bits of bf16 factors, and so is x Aᵀ. Sums are f32, and y is rounded once. In place, no gradients.
// One call serves all adapters; libtorch's operators would need half a dozen for each. Factors are addressed by their
// offset in tensors that may hold many, because looking up a tensor for each would take as long as the products.
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

// Rows of a product that belong to one adapter.
struct LowRankTask {
  bool wide;     // y and x are f32, otherwise bf16
  bool rounded;  // A and B are bf16
  const void* x;
  void* y;
  const void *a, *b;
  int64_t rows, in, out, rank;
  float scale;
};

// Scratch memory of a thread.
struct LowRankScratch {
  std::vector<float> low;         // x Aᵀ [rows][rank]
  std::vector<float> columns;     // columns of Bᵀ, [rank][a vector]
  std::vector<uint16_t> rounded;  // x Aᵀ in bf16
  std::vector<uint16_t> lines;    // rounded lines of A
};

#define GRAFT_BODY "low_rank.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kGrain = 1 << 16;  // minimum values of factors per thread; products count eight times as much
constexpr int64_t kRows = 64;        // rows of an adapter per task, so that threads share a long prompt

void check(const at::Tensor& y, const at::Tensor& x) {
  TORCH_CHECK(y.dim() == 2 && x.dim() == 2 && y.size(0) == x.size(0) && y.is_contiguous() &&
                  y.scalar_type() == x.scalar_type() &&
                  (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
              "expected y [n, out] and x [n, in] in f32 or bf16, got ", y.sizes(), " and ", x.sizes());
}

// Entry of an adapter in the list of places.
struct Place {
  int64_t product, start, rows, rank, a, a_at, b, b_at;  // indices of tensors, and the offsets of the factors in them
};
constexpr size_t kPlace = sizeof(Place) / sizeof(int64_t);

const char* factor(at::TensorList tensors, int64_t number, int64_t at, int64_t lines, int64_t length) {
  TORCH_CHECK(number >= 0 && number < static_cast<int64_t>(tensors.size()), "factor in tensor ", number, " of ",
              tensors.size());
  const at::Tensor& t = tensors[number];
  // a factor in its own tensor must fill it
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
              "factors ", tensors[place.a].dtype(), " and ", tensors[place.b].dtype(), " with x ", x.dtype());
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
  // orders tasks by memory: an adapter's factors of several products are adjacent
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
  std::vector<int64_t> before;  // prefix sums of the factors' values per task, weighted by rows
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
