// What adapters of low rank add to the rows of products, each to its own rows, as answers in the making have it
// (arXiv:2310.18547):
//
//   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
//
// x: [n, in]  y: [n, out] of each product that reads x, f32 or bf16  A_j: [r_j, in]  B_j: [out, r_j], f32; or, beside x in
// bf16, both bf16 and B lying as Bᵀ does: half of what there is to read. In bf16 factors in f32 are rounded before they are
// multiplied, with the bits of factors in bf16, and so is x Aᵀ; sums are f32, and y is rounded once. In place, no gradients.
// One call for all adapters: libtorch's operators take half a dozen for each of them.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "few_rows.h"
#include "isa.h"

namespace graft {
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

constexpr int64_t kGrain = 1 << 16;  // numbers of factors that a thread reads at least

bool lie_in_lines(const at::Tensor& t, int64_t across, int64_t along) {
  return (t.size(along) == 1 || t.stride(along) == 1) && (t.size(across) == 1 || t.stride(across) == t.size(along));
}

bool has_rounded(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b) {
  return x.scalar_type() == at::kBFloat16 && a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 &&
         lie_in_lines(a, 0, 1) && lie_in_lines(b, 1, 0);
}

bool has_given(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat && lie_in_lines(a, 0, 1) && lie_in_lines(b, 0, 1);
}

void check(const at::Tensor& y, const at::Tensor& x) {
  TORCH_CHECK(y.dim() == 2 && x.dim() == 2 && y.size(0) == x.size(0) && y.is_contiguous() &&
                  y.scalar_type() == x.scalar_type() &&
                  (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
              "expected y [n, out] and x [n, in] in f32 or bf16, got ", y.sizes(), " and ", x.sizes());
}

void check(const at::Tensor& y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == x.size(1) && b.size(0) == y.size(1) && a.size(0) == b.size(1) &&
                  a.size(0) > 0 && (has_given(a, b) || has_rounded(x, a, b)),
              "factors ", a.dtype(), " ", a.sizes(), " and ", b.dtype(), " ", b.sizes(), " for x ", x.dtype(), " ", x.sizes(),
              " and y ", y.sizes());
}

// rows: of each adapter the number of its product, its first row and how many
std::vector<LowRankTask> tasks_of(at::TensorList ys, const at::Tensor& x, at::TensorList as, at::TensorList bs,
                                  at::ArrayRef<double> scales, at::IntArrayRef rows) {
  const int64_t width = x.element_size(), in = x.size(1);
  const char* from = static_cast<const char*>(x.const_data_ptr());
  std::vector<LowRankTask> tasks;
  tasks.reserve(as.size());
  for (size_t j = 0; j < as.size(); j++) {
    const int64_t product = rows[3 * j], start = rows[3 * j + 1], count = rows[3 * j + 2];
    TORCH_CHECK(product >= 0 && product < static_cast<int64_t>(ys.size()), "product ", product, " of ", ys.size());
    const at::Tensor& y = ys[product];
    check(y, x, as[j], bs[j]);
    TORCH_CHECK(start >= 0 && count >= 0 && start + count <= x.size(0), "rows from ", start, ", ", count, " of them, of ",
                x.size(0));
    char* to = static_cast<char*>(y.mutable_data_ptr());
    tasks.push_back({width == 4, as[j].scalar_type() == at::kBFloat16, from + start * in * width,
                     to + start * y.size(1) * width, as[j].const_data_ptr(), bs[j].const_data_ptr(), count, in, y.size(1),
                     as[j].size(0), static_cast<float>(scales[j])});
  }
  // an adapter's factors of several products lie one after the other in memory
  std::stable_sort(tasks.begin(), tasks.end(), [](const LowRankTask& s, const LowRankTask& t) { return s.x < t.x; });
  return tasks;
}

void add_low_rank(at::TensorList ys, const at::Tensor& given, at::TensorList as, at::TensorList bs,
                  at::ArrayRef<double> scales, at::IntArrayRef rows) {
  const at::Tensor x = given.contiguous();
  for (const at::Tensor& y : ys) check(y, x);
  TORCH_CHECK(as.size() == bs.size() && as.size() == scales.size() && rows.size() == 3 * as.size(),
              "expected factors, a scale, and a product and rows for each adapter");
  const std::vector<LowRankTask> tasks = tasks_of(ys, x, as, bs, scales, rows);
  std::vector<int64_t> before;  // numbers of factors before each adapter's
  int64_t all = 0;
  for (const LowRankTask& t : tasks) {
    before.push_back(all);
    all += t.rows > 0 ? t.rank * (t.in + t.out) : 0;
  }
  at::parallel_for(0, all, kGrain, [&](int64_t begin, int64_t end) {
    LowRankScratch scratch;
    size_t j = std::lower_bound(before.begin(), before.end(), begin) - before.begin();
    for (; j < tasks.size() && before[j] < end; j++)
      if (tasks[j].rows > 0) GRAFT_DISPATCH(low_rank, tasks[j], scratch);
  });
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("add_low_rank_(Tensor(a!)[] y, Tensor x, Tensor[] a, Tensor[] b, float[] scales, int[] rows) -> ()");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("add_low_rank_", graft::add_low_rank); }
