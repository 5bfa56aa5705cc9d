// Attention of single queries, each over keys and values of its own, as answers in the making have it:
//
//   o_i = Σ_j softmax_j(s_ij) v_ij      s_ij = scale q_i · k_ij, or c tanh(s_ij / c)      j from `from_i` on
//
// q: [T, H, d]  k_i, v_i: [K_i, Hkv, d], rows at any stride, f32 or bf16  o: [T, H d]. Scores and sums in f32, rounded
// once. No gradients. One call for all answers: libtorch's takes a dozen for each of them.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "isa.h"

namespace graft {
namespace {

struct SingleTask {
  bool wide;  // f32, else bf16
  const void *q, *k, *v;
  void* o;
  float* scores;  // [keys]
  int64_t heads, keys, size, stride;
  float scale, softcap;
};

#define GRAFT_BODY "single_attention.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kGrain = 1 << 16;  // products of a thread at least

const char* bytes(const at::Tensor& t) { return static_cast<const char*>(t.const_data_ptr()); }

at::Tensor single_attention(const at::Tensor& given, at::TensorList ks, at::TensorList vs, at::IntArrayRef from, double scale,
                            double softcap) {
  const at::Tensor q = given.contiguous();
  TORCH_CHECK(q.dim() == 3 && (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16),
              "expected queries [T, H, d] in f32 or bf16");
  const int64_t queries = q.size(0), heads = q.size(1), size = q.size(2), width = q.element_size();
  TORCH_CHECK(static_cast<int64_t>(ks.size()) == queries && ks.size() == vs.size() && ks.size() == from.size(),
              "expected keys, values and a first key for each of ", queries, " queries");
  const int64_t kv_heads = queries > 0 ? ks[0].size(1) : 1;
  int64_t most = 0, all = 0;
  for (int64_t i = 0; i < queries; i++) {
    for (const at::Tensor* t : {&ks[i], &vs[i]})
      TORCH_CHECK(t->dim() == 3 && t->scalar_type() == q.scalar_type() && t->size(0) == ks[i].size(0) &&
                      t->size(1) == kv_heads && t->size(2) == size && heads % kv_heads == 0 && t->stride(2) == 1 &&
                      t->stride(1) == size && t->stride(0) == ks[i].stride(0),
                  "keys and values ", i, " are not [K, Hkv, d] like the queries");
    TORCH_CHECK(from[i] >= 0 && from[i] < ks[i].size(0), "query ", i, " sees no key");
    most = std::max(most, ks[i].size(0) - from[i]);
    all += ks[i].size(0) - from[i];
  }
  at::Tensor out = at::empty({queries, heads * size}, q.options());
  const int64_t group = heads / kv_heads, cost = std::max<int64_t>(1, all / std::max<int64_t>(1, queries) * group * size);
  at::parallel_for(0, queries * kv_heads, std::max<int64_t>(1, kGrain / cost), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(most);
    for (int64_t at = begin; at < end; at++) {
      const int64_t i = at / kv_heads, head = at % kv_heads, stride = ks[i].stride(0);
      const int64_t first = (from[i] * stride + head * size) * width, own = (i * heads + head * group) * size * width;
      SingleTask t{width == 4,
                   bytes(q) + own,
                   bytes(ks[i]) + first,
                   bytes(vs[i]) + first,
                   static_cast<char*>(out.mutable_data_ptr()) + own,
                   scores.data(),
                   group,
                   ks[i].size(0) - from[i],
                   size,
                   stride,
                   static_cast<float>(scale),
                   static_cast<float>(softcap)};
      GRAFT_DISPATCH(single_query, t);
    }
  });
  return out;
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("single_attention(Tensor q, Tensor[] k, Tensor[] v, int[] first, float scale, float softcap=0) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("single_attention", graft::single_attention); }
