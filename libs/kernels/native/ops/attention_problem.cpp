#include "attention.h"

#include <algorithm>

namespace graft {
namespace {

constexpr int64_t kAll = int64_t{1} << 40;  // beyond any key

// Repeats the checks of src/ops/attention.ts, whose messages are better, so that no read is out of bounds.
std::vector<Segment> read_segments(c10::IntArrayRef flat, int64_t queries, int64_t keys, bool causal, int64_t window) {
  TORCH_CHECK(flat.size() % 7 == 0, "segments are sevens of numbers");
  std::vector<Segment> segments;
  int64_t at = 0;
  for (size_t i = 0; i < flat.size(); i += 7) {
    const Segment s{flat[i], flat[i + 1], flat[i + 2], flat[i + 3], flat[i + 4], flat[i + 5], flat[i + 6]};
    const int64_t first = s.offset, last = s.offset + s.rows - 1;
    const int64_t behind = window > 0 ? window : kAll, ahead = causal ? 1 : behind;
    TORCH_CHECK(s.start == at && s.rows > 0, "segment ", i / 7, " starts at ", s.start, ", not at ", at);
    TORCH_CHECK(s.key_rows >= 0 && s.key_start >= 0 && s.key_start + s.key_rows <= keys && s.before >= 0 &&
                    s.before_start >= 0 && s.before_start + s.before <= keys,
                "segment ", i / 7, " has keys outside the ", keys, " there are");
    TORCH_CHECK(s.keys() > 0 && last - behind + 1 < s.keys() && first + ahead > 0 && (!causal || last < s.keys()),
                "segment ", i / 7, " has a query that sees no key");
    at += s.rows;
    segments.push_back(s);
  }
  TORCH_CHECK(at == queries, "segments have ", at, " rows, the queries ", queries);
  return segments;
}

// Returns a tensor [rows, heads, size] whose last two dimensions are contiguous.
at::Tensor by_rows(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

}  // namespace

AttentionProblem::AttentionProblem(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_,
                                   const std::optional<at::Tensor>& bias_, c10::IntArrayRef flat,
                                   AttentionOptions options_)
    : options(options_) {
  TORCH_CHECK(q_.dim() == 3 && k_.dim() == 3 && v_.dim() == 3, "attention wants [rows, heads, size] three times");
  TORCH_CHECK(k_.sizes() == v_.sizes(), "keys ", k_.sizes(), " and values ", v_.sizes(), " differ");
  TORCH_CHECK(q_.size(2) == k_.size(2), "queries of ", q_.size(2), ", keys of ", k_.size(2));
  TORCH_CHECK(q_.scalar_type() == at::kFloat || q_.scalar_type() == at::kBFloat16, "f32 or bf16, got ", q_.dtype());
  TORCH_CHECK(k_.scalar_type() == q_.scalar_type() && v_.scalar_type() == q_.scalar_type(), "one dtype for all");
  TORCH_CHECK(k_.size(1) > 0 && q_.size(1) % k_.size(1) == 0, q_.size(1), " heads over ", k_.size(1));
  q = by_rows(q_);
  k = by_rows(k_);
  v = by_rows(v_);
  if (k.stride(0) != v.stride(0)) {
    k = k.contiguous();
    v = v.contiguous();
  }
  queries = q.size(0);
  heads = q.size(1);
  size = q.size(2);
  keys = k.size(0);
  kv_heads = k.size(1);
  behind = options.window > 0 ? options.window : kAll;
  ahead = options.causal ? 1 : behind;
  segments = read_segments(flat, queries, keys, options.causal, options.window);
  if (!bias_ || !bias_->defined()) return;
  TORCH_CHECK(options.cap == 0, "capped scores have no bias");
  bias = bias_->contiguous();
  TORCH_CHECK(bias.scalar_type() == at::kFloat && bias.dim() == 2 && bias.size(0) == heads, "bias f32 [", heads,
              ", distances], got ", bias.dtype(), " ", bias.sizes());
  if (options.by_place()) {
    for (const Segment& s : segments)
      TORCH_CHECK(s.keys() <= bias.size(1), "bias of ", bias.size(1), " places, ", s.keys(), " are needed");
    return;
  }
  int64_t before = 0, after = 0;
  for (const Segment& s : segments) {
    before = std::max(before, std::min(behind - 1, s.offset + s.rows - 1));
    after = std::max(after, std::min(ahead - 1, s.keys() - 1 - s.offset));
  }
  TORCH_CHECK(before <= options.bias_behind && options.bias_behind + after < bias.size(1), "bias of ", bias.size(1),
              " distances from -", options.bias_behind, " on, -", before, " to ", after, " are needed");
}

}  // namespace graft
