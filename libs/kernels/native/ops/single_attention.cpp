// Attention of single queries, each over its own keys and values, during generation:
//
//   o_i = Σ_j softmax_j(s_ij) v_ij      s_ij = scale q_i · k_ij, or c tanh(s_ij / c)      j from `first_i` on
//
// q: [T, H, d]  k_i, v_i: [K_i, Hkv, d], rows at any stride, f32 or bf16  o: [T, H d]. Scores and sums are f32, rounded
// once. No gradients. One call serves all sequences; libtorch would need a dozen each. `cached_attention` also rotates the
// rows by their positions and appends them to the cache, which would be eight more calls.
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "isa.h"
#include "operator.h"

namespace graft::single_attention {
namespace {

struct SingleTask {
  bool wide;  // f32, otherwise bf16
  const void *q, *k, *v;
  void* o;
  float* scores;  // [keys]
  int64_t heads, keys, size, stride;
  float scale, softcap;
};

#define GRAFT_BODY "single_attention.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

constexpr int64_t kGrain = 1 << 16;  // minimum products per thread

const char* bytes(const at::Tensor& t) { return static_cast<const char*>(t.const_data_ptr()); }

// Keys and values of one query: rows of contiguous heads.
struct Seen {
  const char *k, *v;
  int64_t rows, stride;
};

void check_queries(const at::Tensor& q) {
  TORCH_CHECK(q.dim() == 3 && (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16),
              "expected queries [T, H, d] in f32 or bf16");
}

void check_keys(const at::Tensor& q, at::TensorList ks, at::TensorList vs, int64_t i) {
  for (const at::Tensor* t : {&ks[i], &vs[i]})
    TORCH_CHECK(t->dim() == 3 && t->scalar_type() == q.scalar_type() && t->size(0) == ks[i].size(0) &&
                    t->size(1) == ks[0].size(1) && t->size(2) == q.size(2) && q.size(1) % t->size(1) == 0 &&
                    t->stride(2) == 1 && t->stride(1) == q.size(2) && t->stride(0) == ks[i].stride(0),
                "keys and values ", i, " are not [K, Hkv, d] like the queries");
}

// q: contiguous
at::Tensor attend(const at::Tensor& q, int64_t kv_heads, const std::vector<Seen>& seen, double scale, double softcap) {
  const int64_t queries = q.size(0), heads = q.size(1), size = q.size(2), width = q.element_size();
  int64_t most = 0, all = 0;
  for (const Seen& each : seen) {
    most = std::max(most, each.rows);
    all += each.rows;
  }
  at::Tensor out = at::empty({queries, heads * size}, q.options());
  const int64_t group = heads / kv_heads, cost = std::max<int64_t>(1, all / std::max<int64_t>(1, queries) * group * size);
  at::parallel_for(0, queries * kv_heads, std::max<int64_t>(1, kGrain / cost), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(most);
    for (int64_t at = begin; at < end; at++) {
      const int64_t i = at / kv_heads, head = at % kv_heads, own = (i * heads + head * group) * size * width;
      const Seen& each = seen[i];
      SingleTask t{width == 4,
                   bytes(q) + own,
                   each.k + head * size * width,
                   each.v + head * size * width,
                   static_cast<char*>(out.mutable_data_ptr()) + own,
                   scores.data(),
                   group,
                   each.rows,
                   size,
                   each.stride,
                   static_cast<float>(scale),
                   static_cast<float>(softcap)};
      GRAFT_DISPATCH(single_query, t);
    }
  });
  return out;
}

at::Tensor single_attention(const at::Tensor& given, at::TensorList ks, at::TensorList vs, at::IntArrayRef first,
                            double scale, double softcap) {
  const at::Tensor q = given.contiguous();
  check_queries(q);
  const int64_t queries = q.size(0), width = q.element_size();
  TORCH_CHECK(static_cast<int64_t>(ks.size()) == queries && ks.size() == vs.size() && ks.size() == first.size(),
              "expected keys, values and a first key for each of ", queries, " queries");
  std::vector<Seen> seen;
  seen.reserve(queries);
  for (int64_t i = 0; i < queries; i++) {
    check_keys(q, ks, vs, i);
    TORCH_CHECK(first[i] >= 0 && first[i] < ks[i].size(0), "query ", i, " sees no key");
    const int64_t stride = ks[i].stride(0), before = first[i] * stride * width;
    seen.push_back({bytes(ks[i]) + before, bytes(vs[i]) + before, ks[i].size(0) - first[i], stride});
  }
  return attend(q, queries > 0 ? ks[0].size(1) : 1, seen, scale, softcap);
}

// Returns [T, heads, d] with contiguous rows.
at::Tensor by_head(const at::Tensor& x, int64_t size) {
  const at::Tensor rows = x.stride(-1) == 1 ? x : x.contiguous();
  return rows.reshape({x.size(0), -1, size});
}

at::Tensor turned(const at::Tensor& x, const std::optional<at::Tensor>& cos, const std::optional<at::Tensor>& sin) {
  static const auto rotary = operator_of<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>("graft::rotary");
  return cos ? rotary.call(x, *cos, *sin) : x.contiguous();
}

void put_row(const at::Tensor& rows, int64_t i, const at::Tensor& buffer, int64_t at) {
  const int64_t width = rows.element_size();
  std::memcpy(static_cast<char*>(buffer.mutable_data_ptr()) + at * buffer.stride(0) * width,
              bytes(rows) + i * rows.stride(0) * width, rows.size(1) * rows.size(2) * width);
}

at::Tensor cached_attention(const at::Tensor& given_q, const at::Tensor& given_k, const at::Tensor& given_v,
                            const std::optional<at::Tensor>& cos, const std::optional<at::Tensor>& sin,
                            at::TensorList keys, at::TensorList values, at::IntArrayRef lengths, int64_t window,
                            double scale, double softcap) {
  at::AutoDispatchBelowAutograd below;
  const int64_t queries = given_q.size(0);
  TORCH_CHECK(queries > 0 && static_cast<int64_t>(keys.size()) == queries && keys.size() == values.size() &&
                  keys.size() == lengths.size() && keys[0].dim() == 3,
              "expected buffers [capacity, Hkv, d] of keys and of values and a length for each of ", queries, " queries");
  TORCH_CHECK(cos.has_value() == sin.has_value(), "cos and sin go together");
  const int64_t kv_heads = keys[0].size(1), size = keys[0].size(2);
  const at::Tensor q = turned(by_head(given_q, size), cos, sin), k = turned(by_head(given_k, size), cos, sin);
  const at::Tensor v = by_head(given_v, size).contiguous();
  check_queries(q);
  for (const at::Tensor* own : {&k, &v})
    TORCH_CHECK(own->size(0) == queries && own->size(1) == kv_heads && own->scalar_type() == q.scalar_type(),
                "expected a row of ", kv_heads, " heads of ", size, " for each query, got ", own->sizes());
  std::vector<Seen> seen;
  seen.reserve(queries);
  for (int64_t i = 0; i < queries; i++) {
    check_keys(q, keys, values, i);
    TORCH_CHECK(lengths[i] >= 0 && lengths[i] < keys[i].size(0), "cache ", i, " has ", keys[i].size(0),
                " rows, and no space after ", lengths[i]);
    put_row(k, i, keys[i], lengths[i]);
    put_row(v, i, values[i], lengths[i]);
    const int64_t stride = keys[i].stride(0), rows = lengths[i] + 1, first = window > 0 ? std::max<int64_t>(0, rows - window) : 0;
    const int64_t before = first * stride * q.element_size();
    seen.push_back({bytes(keys[i]) + before, bytes(values[i]) + before, rows - first, stride});
  }
  return attend(q, kv_heads, seen, scale, softcap);
}

}  // namespace
}  // namespace graft::single_attention

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("single_attention(Tensor q, Tensor[] k, Tensor[] v, int[] first, float scale, float softcap=0) -> Tensor");
  m.def(
      "cached_attention(Tensor q, Tensor k, Tensor v, Tensor? cos, Tensor? sin, Tensor(a!)[] keys, Tensor(b!)[] values, "
      "int[] lengths, int window, float scale, float softcap=0) -> Tensor");
}
TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("single_attention", graft::single_attention::single_attention);
  m.impl("cached_attention", graft::single_attention::cached_attention);
}
