// Implementation of attention: computes the tiles of a packed batch for the kernels in attention.cu.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "../ops/attention.h"
#include "bodies.h"

namespace graft::cuda {
namespace {

using at::Tensor;

AttentionShape shape_of(const AttentionProblem& p) {
  AttentionShape s{};
  s.queries = p.queries;
  s.heads = p.heads;
  s.kv_heads = p.kv_heads;
  s.size = p.size;
  s.q_stride = p.q.stride(0);
  s.kv_stride = p.k.stride(0);
  s.behind = p.behind;
  s.ahead = p.ahead;
  s.scale = static_cast<float>(p.options.scale);
  s.cap = static_cast<float>(p.options.cap);
  if (!p.bias.defined()) return s;
  s.bias_behind = std::max<int64_t>(p.options.bias_behind, 0);
  s.bias = p.bias.const_data_ptr<float>() + s.bias_behind;
  s.bias_by_place = p.options.by_place();
  s.bias_stride = p.bias.size(1);
  return s;
}

// Copies a table of int64 structures to the device of `x`.
template <typename Entry>
class Table {
 public:
  Table(const std::vector<Entry>& entries, const Tensor& x) : count_(entries.size()) {
    const int64_t numbers = count_ * sizeof(Entry) / sizeof(int64_t);
    const Tensor here = at::from_blob(const_cast<Entry*>(entries.data()), {numbers}, at::kLong).clone();
    kept_ = here.to(x.device(), /*non_blocking=*/true);
  }
  const Entry* entries() const { return reinterpret_cast<const Entry*>(kept_.const_data_ptr<int64_t>()); }
  int64_t count() const { return count_; }

 private:
  int64_t count_;
  Tensor kept_;
};

std::vector<QueryTile> query_tiles(const AttentionProblem& p, int64_t rows) {
  std::vector<QueryTile> tiles;
  for (const Segment& s : p.segments)
    for (int64_t i = 0; i < s.rows; i += rows)
      tiles.push_back({s.start + i, std::min(rows, s.rows - i), s.offset + i, s.key_start, s.keys(), s.before_start, s.before});
  return tiles;
}

struct KeyTiles {
  std::vector<KeyTile> tiles;
  std::vector<Sight> sights;
};

// Splits keys wherever a segment's keys begin or end, so that the same segments see all rows of a tile.
KeyTiles key_tiles(const AttentionProblem& p, int64_t rows) {
  struct Range {
    int64_t start, past, place;
    const Segment* segment;
  };
  std::vector<Range> ranges;
  std::vector<int64_t> cuts{0, p.keys};
  for (const Segment& s : p.segments) {
    if (s.before > 0) ranges.push_back({s.before_start, s.before_start + s.before, 0, &s});
    if (s.key_rows > 0) ranges.push_back({s.key_start, s.key_start + s.key_rows, s.before, &s});
  }
  for (const Range& r : ranges) cuts.insert(cuts.end(), {r.start, r.past});
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<std::vector<const Range*>> seen(cuts.size());
  for (const Range& r : ranges)
    for (auto cut = std::lower_bound(cuts.begin(), cuts.end(), r.start); *cut < r.past; cut++)
      seen[cut - cuts.begin()].push_back(&r);
  KeyTiles all;
  for (size_t c = 0; c + 1 < cuts.size(); c++)
    for (int64_t row = cuts[c]; row < cuts[c + 1]; row += rows) {
      const int64_t first = all.sights.size();
      for (const Range* r : seen[c])
        all.sights.push_back({r->place + row - r->start, r->segment->start, r->segment->rows, r->segment->offset});
      all.tiles.push_back({row, std::min(rows, cuts[c + 1] - row), first, static_cast<int64_t>(all.sights.size())});
    }
  return all;
}

std::tuple<Tensor, Tensor> forward(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& bias,
                                   c10::IntArrayRef segments, double scale, bool causal, int64_t window,
                                   int64_t bias_behind, double softcap) {
  const On on(q);
  const AttentionProblem p(q, k, v, bias, segments, {scale, causal, window, bias_behind, softcap});
  Tensor o = at::empty({p.queries, p.heads * p.size}, p.q.options());
  Tensor lse = at::empty({p.heads, p.queries}, p.q.options().dtype(at::kFloat));
  by_kind(p.q, [&](auto kind) {
    using T = decltype(kind);
    const int64_t rows = attention_rows<T>(p.size, false, false);
    const Table tiles(query_tiles(p, rows), q);
    attention(shape_of(p), rows, tiles.entries(), tiles.count(), data<T>(p.q), data<T>(p.k), data<T>(p.v), data<T>(o),
              data<float>(lse), on.stream());
  });
  return {o, lse};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> backward(const Tensor& go, const Tensor& q, const Tensor& k, const Tensor& v,
                                                    const std::optional<Tensor>& bias, const Tensor& o,
                                                    const Tensor& lse, c10::IntArrayRef segments, double scale,
                                                    bool causal, int64_t window, int64_t bias_behind, double softcap,
                                                    bool wants_bias) {
  const On on(q);
  const AttentionProblem p(q, k, v, bias, segments, {scale, causal, window, bias_behind, softcap});
  const AttentionShape shape = shape_of(p);
  Tensor dq = at::empty({p.queries, p.heads, p.size}, p.q.options());
  Tensor dk = at::empty(p.k.sizes(), p.k.options().memory_format(at::MemoryFormat::Contiguous)), dv = at::empty_like(dk);
  Tensor delta = at::empty_like(lse), dbias;
  by_kind(p.q, [&](auto kind) {
    using T = decltype(kind);
    const int64_t rows = attention_rows<T>(p.size, true, wants_bias);
    const Table tiles(query_tiles(p, rows), q);
    Tensor parts;
    if (wants_bias) parts = at::zeros({tiles.count(), p.heads, p.bias.size(1)}, lse.options());
    attention_delta(shape, data<T>(o), data<T>(go), data<float>(delta), on.stream());
    attention_queries(shape, rows, tiles.entries(), tiles.count(), data<T>(p.q), data<T>(p.k), data<T>(p.v), data<T>(go),
                      data<float>(lse), data<float>(delta), data<T>(dq), wants_bias ? data<float>(parts) : nullptr,
                      on.stream());
    if (wants_bias) dbias = parts.sum(0);
    const KeyTiles keys = key_tiles(p, rows);
    const Table of_keys(keys.tiles, q);
    const Table sights(keys.sights, q);
    attention_keys(shape, rows, of_keys.entries(), sights.entries(), of_keys.count(), data<T>(p.q), data<T>(p.k),
                   data<T>(p.v), data<T>(go), data<float>(lse), data<float>(delta), data<T>(dk), data<T>(dv), on.stream());
  });
  return {dq, dk, dv, dbias};
}

}  // namespace

void add_attention(torch::Library& m) {
  m.impl("attention_forward", forward);
  m.impl("attention_backward", backward);
}

}  // namespace graft::cuda
