// Attention over a packed batch, forward and backward.
//
//   o_i = Σ_j P_ij v_j      P_ij = e^(s_ij - lse_i)      s_ij = scale q_i · k_j + b(j - i)     lse_i = log Σ_j e^(s_ij)
//   dv_j = Σ_i P_ij do_i    dP_ij = do_i · v_j           dS_ij = P_ij (dP_ij - do_i · o_i)     db(n) = Σ_(j-i=n) dS_ij
//   dq_i = scale Σ_j dS_ij k_j                           dk_j = scale Σ_i dS_ij q_i
//
// The batch consists of segments: `rows` queries over `before` rows of keys (a prefix, or virtual tokens shared within
// the run), then over their own keys. Positions j and i count from the first of these keys; query 0 is at `offset`.
// Causal queries see keys up to their position, others all keys; with a window, only keys nearer than it. b is a bias by
// distance, [H, distances], starting at -behind. If bias_behind is -1, it is b(j) by the key's position, [H, places],
// without a gradient.
// With a cap c, scores are c tanh(s_ij / c) instead of s_ij, without b, and dS_ij is multiplied by 1 - tanh²(s_ij / c).
// Only o and lse are saved for the backward pass. Scores exist for 96 queries and 512 keys at a time (arXiv:2205.14135).
// In bf16, P and dS are rounded before they are multiplied; sums are f32.
//
// q: [T, H, d]  k, v: [K, Hkv, d]  o: [T, H d]  lse: f32 [H, T]  b: f32
// A task is a segment and a key head or, for a long segment, some of its queries and their heads. Its sums do not depend
// on the number of threads or on other segments, except those of shared rows and of b, which are added in task order.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "attention.h"
#include "operator.h"

namespace graft::attention {
namespace {

struct AttentionTask {
  bool wide;  // f32, otherwise bf16
  const void *q, *k, *v;
  void* o;  // written by the forward pass, read by the backward pass
  float* lse;
  int64_t rows, before, own, own_start, before_start, offset, behind, ahead, size, heads;
  int64_t q_stride, kv_stride, o_stride, lse_stride;
  float scale, cap;  // scale and cap of scores; a cap of 0 means none
  float* scratch;
  const float* bias;  // entry of distance 0, or place 0, of the first head; or null
  bool bias_by_place;
  int64_t bias_stride;
  // backward only
  const void* go = nullptr;
  void* dq = nullptr;
  int64_t dq_stride = 0;
  float *dk = nullptr, *dv = nullptr;  // [before + own, size padded to 16]
  float* dbias = nullptr;              // in the layout of bias, or null if it is not needed
  int64_t dbias_stride = 0;
};

// Floats of scratch for the intermediate results of a block of queries and a chunk of keys, and padding. The kernel's
// sizes fit into it.
constexpr int64_t kMostQueries = 96;
constexpr int64_t kBlockScratch = kMostQueries * 5 * (512 + 16) + 32 * 16;
constexpr int64_t kMostPanel = 64;  // keys that are stored side by side

#define GRAFT_BODY "attention.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kLong = int64_t{1} << 21;  // queries times keys from which a single segment may be the whole work
// maximum shares of a key head's heads in a long segment, each with its own gradients
constexpr int64_t kShares = 4;

// Queries of a segment, and their heads that share one key head.
struct Piece {
  size_t segment;
  int64_t kv, head, heads;        // index of the key head, and of the first query head
  int64_t first, rows, offset;    // queries, from the segment's first on, and their position
  int64_t before, own;            // keys that they see, counted in the segment
  int64_t work;                   // queries times keys

  int64_t keys() const { return before + own; }
};

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

struct Problem : AttentionProblem {
  std::vector<Piece> pieces;

  Problem(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const std::optional<at::Tensor>& bias_,
          c10::IntArrayRef flat, AttentionOptions options_)
      : AttentionProblem(q_, k_, v_, bias_, flat, options_) {
    for (size_t i = 0; i < segments.size(); i++) cut(i);
  }

  int64_t group() const { return heads / kv_heads; }
  bool wide() const { return q.scalar_type() == at::kFloat; }

  // Number of keys that a query of the segment sees.
  int64_t seen(const Segment& segment, int64_t query) const {
    const int64_t place = segment.offset + query;
    return std::min(segment.keys(), place + ahead) - std::max<int64_t>(0, place - behind + 1);
  }

  // Splits the queries of a long segment into two parts of equal work, so that few heads are balanced over few threads.
  void cut(size_t index) {
    const Segment& segment = segments[index];
    std::vector<int64_t> until(segment.rows);  // work up to and including a query
    for (int64_t i = 0, sum = 0; i < segment.rows; i++) until[i] = sum += seen(segment, i) + 16;
    if (segment.rows * std::min(segment.keys(), behind + ahead) < kLong)
      return add(index, 0, segment.rows, group(), until.back());
    const int64_t middle = std::lower_bound(until.begin(), until.end(), until.back() / 2) - until.begin();
    const int64_t first = std::clamp<int64_t>((middle + 11) / 12 * 12, 1, segment.rows);
    const int64_t each = (group() + kShares - 1) / kShares;
    add(index, 0, first, each, until[first - 1]);
    if (first < segment.rows) add(index, first, segment.rows, each, until.back() - until[first - 1]);
  }

  // Adds the pieces of the queries [first, past), with `each` heads per piece.
  void add(size_t index, int64_t first, int64_t past, int64_t each, int64_t work) {
    const Segment& segment = segments[index];
    const int64_t keys = std::min(segment.keys(), segment.offset + past - 1 + ahead);
    const int64_t before = std::min(segment.before, keys);
    for (int64_t head = 0; head < group(); head += each)
      for (int64_t kv = 0; kv < kv_heads; kv++) {
        const int64_t count = std::min(each, group() - head);
        pieces.push_back({index, kv, kv * group() + head, count, first, past - first, segment.offset + first, before,
                          keys - before, work * count});
      }
  }

  // Offset of a piece in [queries, heads · size], in elements.
  int64_t place(const Piece& piece, int64_t stride) const {
    return (segments[piece.segment].start + piece.first) * stride + piece.head * size;
  }

  AttentionTask task(const Piece& piece, void* o, float* lse) const {
    const Segment& segment = segments[piece.segment];
    const int64_t kv = piece.kv, first = piece.head, bytes = q.element_size();
    auto offset = [bytes](const at::Tensor& x, int64_t elements) {
      return static_cast<const void*>(static_cast<const char*>(x.const_data_ptr()) + elements * bytes);
    };
    AttentionTask t{};
    t.wide = wide();
    t.q = offset(q, place(piece, q.stride(0)));
    t.k = offset(k, kv * size);
    t.v = offset(v, kv * size);
    t.o = static_cast<char*>(o) + place(piece, heads * size) * bytes;
    t.lse = lse + first * queries + segment.start + piece.first;
    t.rows = piece.rows;
    t.before = piece.before;
    t.own = piece.own;
    t.own_start = segment.key_start;
    t.before_start = segment.before_start;
    t.offset = piece.offset;
    t.behind = behind;
    t.ahead = ahead;
    t.size = size;
    t.heads = piece.heads;
    t.q_stride = q.stride(0);
    t.kv_stride = k.stride(0);
    t.o_stride = heads * size;
    t.lse_stride = queries;
    t.scale = static_cast<float>(options.scale);
    t.cap = static_cast<float>(options.cap);
    if (bias.defined()) {
      t.bias = bias.const_data_ptr<float>() + first * bias.size(1) + std::max<int64_t>(options.bias_behind, 0);
      t.bias_by_place = options.by_place();
      t.bias_stride = bias.size(1);
    }
    return t;
  }

  // Maximum floats of scratch per task. The kernel allocates from it in order.
  int64_t scratch() const {
    int64_t most = 0, rows = 0;
    for (const Piece& piece : pieces) {
      most = std::max(most, piece.keys());
      rows = std::max(rows, piece.rows);
    }
    const int64_t width = (most + kMostPanel - 1) / kMostPanel * kMostPanel;
    const int64_t wide_size = padded(size), wide_rows = padded(rows);
    const int64_t by_distance = bias.defined() ? 2 * padded(width + rows) : 0;
    const int64_t of_block = kBlockScratch + kMostQueries * 2 * wide_size;
    return 4 * width * wide_size + wide_rows * (5 * wide_size + 1) + of_block + by_distance;
  }

  // Runs body(piece, scratch) for all pieces on all threads, longest first.
  template <typename Body>
  void each(const Body& body) const {
    std::vector<size_t> order(pieces.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pieces[a].work > pieces[b].work; });
    std::atomic<size_t> next{0};
    const int64_t floats = scratch();
    at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), order.size()), 1, [&](int64_t, int64_t) {
      std::unique_ptr<float[]> buffer(new float[floats + 16]);
      float* aligned = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(buffer.get()) + 63) / 64 * 64);
      for (size_t i = next++; i < order.size(); i = next++) body(pieces[order[i]], aligned);
    });
  }
};

struct Result {
  at::Tensor o, lse;
};

Result forward_pass(const Problem& p) {
  at::Tensor o = at::empty({p.queries, p.heads * p.size}, p.q.options());
  at::Tensor lse = at::empty({p.heads, p.queries}, at::kFloat);
  void* o_data = o.mutable_data_ptr();
  float* lse_data = lse.mutable_data_ptr<float>();
  p.each([&](const Piece& piece, float* scratch) {
    AttentionTask t = p.task(piece, o_data, lse_data);
    t.scratch = scratch;
    GRAFT_DISPATCH(attend, t);
  });
  return {o, lse};
}

struct Gradients {
  at::Tensor q, k, v, bias;
};

Gradients backward_pass(const Problem& p, const at::Tensor& o, const at::Tensor& lse, const at::Tensor& go,
                        bool wants_bias) {
  Gradients d;
  d.q = at::empty({p.queries, p.heads, p.size}, p.q.options());
  d.k = at::empty(p.k.sizes(), p.k.options().memory_format(at::MemoryFormat::Contiguous));
  d.v = at::empty_like(d.k);
  if (wants_bias) d.bias = at::zeros_like(p.bias);
  // per piece: dk and dv, [keys][size], and db, [heads][distances]
  const int64_t size = padded(p.size), distances = wants_bias ? p.bias.size(1) : 0;
  struct Part {
    std::unique_ptr<float[]> k, v;
    std::vector<float> bias;
  };
  std::vector<Part> parts;
  for (const Piece& piece : p.pieces) {
    const int64_t count = piece.keys() * size;
    parts.push_back({std::unique_ptr<float[]>(new float[count]), std::unique_ptr<float[]>(new float[count]),
                     std::vector<float>(piece.heads * distances, 0.0f)});
  }
  char* o_data = const_cast<char*>(static_cast<const char*>(o.const_data_ptr()));
  float* lse_data = const_cast<float*>(lse.const_data_ptr<float>());
  const char* go_data = static_cast<const char*>(go.const_data_ptr());
  char* dq_data = static_cast<char*>(d.q.mutable_data_ptr());
  p.each([&](const Piece& piece, float* scratch) {
    AttentionTask t = p.task(piece, o_data, lse_data);
    t.scratch = scratch;
    t.go = go_data + (static_cast<char*>(t.o) - o_data);
    t.dq = dq_data + (static_cast<char*>(t.o) - o_data);
    t.dq_stride = p.heads * p.size;
    Part& part = parts[&piece - p.pieces.data()];
    t.dk = part.k.get();
    t.dv = part.v.get();
    if (wants_bias) {
      t.dbias = part.bias.data() + p.options.bias_behind;
      t.dbias_stride = distances;
    }
    GRAFT_DISPATCH(attend, t);
  });
  // Sums every row of dk and dv: first the parts of its own segment, then those of the segments that saw it, in order.
  at::parallel_for(0, 2 * p.kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const bool value = i >= p.kv_heads;
      const int64_t kv = i % p.kv_heads;
      std::vector<float> sums(p.keys * p.size, 0.0f);
      for (size_t n = 0; n < p.pieces.size(); n++) {
        const Piece& piece = p.pieces[n];
        if (piece.kv != kv) continue;
        const Segment& segment = p.segments[piece.segment];
        const float* from = (value ? parts[n].v : parts[n].k).get();
        auto add = [&](const float* source, int64_t start, int64_t count) {
          for (int64_t r = 0; r < count; r++)
            for (int64_t c = 0; c < p.size; c++) sums[(start + r) * p.size + c] += source[r * size + c];
        };
        add(from, segment.before_start, piece.before);
        add(from + piece.before * size, segment.key_start, piece.own);
      }
      at::Tensor whole = value ? d.v : d.k;
      const at::Tensor wide = at::from_blob(sums.data(), {p.keys, p.size}, at::kFloat);
      whole.select(1, kv).copy_(wide);
    }
  });
  for (size_t n = 0; n < parts.size(); n++) {
    float* sums = wants_bias ? d.bias.mutable_data_ptr<float>() + p.pieces[n].head * distances : nullptr;
    for (size_t i = 0; i < parts[n].bias.size(); i++) sums[i] += parts[n].bias[i];
  }
  return d;
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const std::optional<at::Tensor>& bias, c10::IntArrayRef segments,
                                               double scale, bool causal, int64_t window, int64_t bias_behind,
                                               double softcap) {
  const Result result = forward_pass(Problem(q, k, v, bias, segments, {scale, causal, window, bias_behind, softcap}));
  return {result.o, result.lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward_cpu(
    const at::Tensor& go, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& bias, const at::Tensor& o, const at::Tensor& lse, c10::IntArrayRef segments,
    double scale, bool causal, int64_t window, int64_t bias_behind, double softcap, bool wants_bias) {
  const Problem problem(q, k, v, bias, segments, {scale, causal, window, bias_behind, softcap});
  const Gradients d = backward_pass(problem, o, lse, go, wants_bias);
  return {d.q, d.k, d.v, d.bias};
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                           const std::optional<at::Tensor>& bias, c10::IntArrayRef segments, double scale,
                                           bool causal, int64_t window, int64_t bias_behind, double softcap) {
  static const auto body = operator_of<decltype(forward_cpu)>("graft::attention_forward");
  return body.call(q, k, v, bias, segments, scale, causal, window, bias_behind, softcap);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::optional<at::Tensor>& bias,
                     c10::IntArrayRef segments, double scale, bool causal, int64_t window, int64_t bias_behind,
                     double softcap) {
  return std::get<0>(forward(q, k, v, bias, segments, scale, causal, window, bias_behind, softcap));
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const std::optional<at::Tensor>& bias, std::vector<int64_t> segments,
                            double scale, bool causal, int64_t window, int64_t bias_behind, double softcap) {
    at::AutoDispatchBelowAutograd below;
    TORCH_CHECK(bias_behind >= 0 || !bias || !bias->requires_grad(), "a bias by place gets no gradient");
    auto [o, lse] = attention::forward(q, k, v, bias, segments, scale, causal, window, bias_behind, softcap);
    context->save_for_backward({q, k, v, o, lse, bias.value_or(at::Tensor())});
    context->saved_data["segments"] = std::move(segments);
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    context->saved_data["window"] = window;
    context->saved_data["bias_behind"] = bias_behind;
    context->saved_data["softcap"] = softcap;
    context->saved_data["wants_bias"] = bias && bias->requires_grad();
    return o;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    static const auto body = operator_of<decltype(backward_cpu)>("graft::attention_backward");
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const auto segments = data["segments"].toIntVector();
    const auto bias = saved[5].defined() ? std::optional<at::Tensor>(saved[5]) : std::nullopt;
    auto [dq, dk, dv, dbias] =
        body.call(gradients[0].contiguous(), saved[0], saved[1], saved[2], bias, saved[3], saved[4], segments,
                  data["scale"].toDouble(), data["causal"].toBool(), data["window"].toInt(), data["bias_behind"].toInt(),
                  data["softcap"].toDouble(), data["wants_bias"].toBool());
    return {dq, dk, dv, dbias, {}, {}, {}, {}, {}, {}};
  }
};

at::Tensor attention_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::optional<at::Tensor>& bias, c10::IntArrayRef segments, double scale,
                              bool causal, int64_t window, int64_t bias_behind, double softcap) {
  return Attention::apply(q, k, v, bias, segments.vec(), scale, causal, window, bias_behind, softcap);
}

}  // namespace
}  // namespace graft::attention

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def(
      "attention(Tensor q, Tensor k, Tensor v, Tensor? bias, int[] segments, float scale, bool causal, int window, "
      "int bias_behind, float softcap=0.) -> Tensor");
  // results: o and lse; dq, dk, dv, and db if it is needed
  m.def(
      "attention_forward(Tensor q, Tensor k, Tensor v, Tensor? bias, int[] segments, float scale, bool causal, "
      "int window, int bias_behind, float softcap) -> (Tensor, Tensor)");
  m.def(
      "attention_backward(Tensor go, Tensor q, Tensor k, Tensor v, Tensor? bias, Tensor o, Tensor lse, int[] segments, "
      "float scale, bool causal, int window, int bias_behind, float softcap, bool dbias) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("attention_forward", graft::attention::forward_cpu);
  m.impl("attention_backward", graft::attention::backward_cpu);
}
TORCH_LIBRARY_IMPL(graft, CompositeExplicitAutograd, m) { m.impl("attention", graft::attention::attention); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("attention", graft::attention::attention_autograd); }
