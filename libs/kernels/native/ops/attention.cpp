// Attention over a packed batch, forward and backward.
//
//   o_i = Σ_j P_ij v_j      P_ij = e^(s_ij - lse_i)      s_ij = scale q_i · k_j      lse_i = log Σ_j e^(s_ij)
//   dv_j = Σ_i P_ij do_i    dP_ij = do_i · v_j           dS_ij = scale P_ij (dP_ij - do_i · o_i)
//   dq_i = Σ_j dS_ij k_j    dk_j = Σ_i dS_ij q_i
//
// The batch is pieces: `rows` queries that see `before` rows of keys (a prefix, or the virtual tokens that the piece
// shares with others of its run), then their own keys up to the query's; at most `window` of them if that is > 0.
// Nothing is kept between the passes but o and lse; scores live for 48 queries at a time (arXiv:2205.14135 with whole
// rows instead of an online softmax). In bf16 P and dS are rounded before they are multiplied, sums are f32.
//
// q: [T, H, d]  k, v: [p + T, Hkv, d], the first p rows being prefixes  o: [T, H d]  lse: f32 [H, T]
// A piece and a key head are one task; its sums do not depend on the number of threads or on other pieces, except
// those of shared rows, which are added in the order of pieces.
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

namespace graft {
namespace {

struct AttentionTask {
  bool wide;  // f32, else bf16
  const void *q, *k, *v;
  void* o;  // written by the forward pass, read by the backward pass
  float* lse;
  int64_t rows, before, own_start, before_start, window, size, heads;
  int64_t q_stride, kv_stride, o_stride, lse_stride;
  float scale;
  float* scratch;
  // backward only
  const void* go = nullptr;
  void* dq = nullptr;
  int64_t dq_stride = 0;
  float *dk = nullptr, *dv = nullptr;  // [before + rows, size padded to 16]
};

#define GRAFT_BODY "attention.inc"
#include "isa_each.h"
#undef GRAFT_BODY

struct Piece {
  int64_t start, rows, before_start, before;
};

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

std::vector<Piece> read_pieces(c10::IntArrayRef flat, int64_t queries, int64_t keys) {
  TORCH_CHECK(flat.size() % 4 == 0, "pieces are fours of (start, rows, start of what is before, its rows)");
  std::vector<Piece> pieces;
  int64_t at = 0;
  for (size_t i = 0; i < flat.size(); i += 4) {
    const Piece piece{flat[i], flat[i + 1], flat[i + 2], flat[i + 3]};
    TORCH_CHECK(piece.start == at && piece.rows > 0, "piece ", i / 4, " starts at ", piece.start, ", not at ", at);
    TORCH_CHECK(piece.before >= 0 && piece.before_start >= 0 && piece.before_start + piece.before <= keys,
                "piece ", i / 4, ": what is before lies outside the ", keys, " keys");
    at += piece.rows;
    pieces.push_back(piece);
  }
  TORCH_CHECK(at == queries, "pieces have ", at, " rows, the queries ", queries);
  return pieces;
}

// A tensor [rows, heads, size] whose last two dimensions lie together.
at::Tensor by_rows(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

struct Problem {
  at::Tensor q, k, v;
  std::vector<Piece> pieces;
  double scale;
  int64_t window, queries, heads, kv_heads, size, prefixes;

  Problem(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, c10::IntArrayRef flat, double scale_,
          int64_t window_)
      : scale(scale_), window(window_) {
    TORCH_CHECK(q_.dim() == 3 && k_.dim() == 3 && v_.dim() == 3, "attention wants [rows, heads, size] three times");
    TORCH_CHECK(k_.sizes() == v_.sizes(), "keys ", k_.sizes(), " and values ", v_.sizes(), " differ");
    TORCH_CHECK(q_.size(2) == k_.size(2), "queries of ", q_.size(2), ", keys of ", k_.size(2));
    TORCH_CHECK(q_.scalar_type() == at::kFloat || q_.scalar_type() == at::kBFloat16, "f32 or bf16, got ", q_.dtype());
    TORCH_CHECK(k_.scalar_type() == q_.scalar_type() && v_.scalar_type() == q_.scalar_type(), "one dtype for all");
    TORCH_CHECK(k_.size(1) > 0 && q_.size(1) % k_.size(1) == 0, q_.size(1), " heads over ", k_.size(1));
    TORCH_CHECK(k_.size(0) >= q_.size(0), "fewer keys than queries");
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
    kv_heads = k.size(1);
    prefixes = k.size(0) - queries;
    pieces = read_pieces(flat, queries, k.size(0));
  }

  int64_t group() const { return heads / kv_heads; }
  size_t tasks() const { return pieces.size() * kv_heads; }
  bool wide() const { return q.scalar_type() == at::kFloat; }

  AttentionTask task(size_t index, void* o, float* lse) const {
    const Piece& piece = pieces[index / kv_heads];
    const int64_t kv = index % kv_heads, first = kv * group(), bytes = q.element_size();
    auto offset = [bytes](const at::Tensor& x, int64_t elements) {
      return static_cast<const void*>(static_cast<const char*>(x.const_data_ptr()) + elements * bytes);
    };
    AttentionTask t{};
    t.wide = wide();
    t.q = offset(q, piece.start * q.stride(0) + first * size);
    t.k = offset(k, kv * size);
    t.v = offset(v, kv * size);
    t.o = static_cast<char*>(o) + (piece.start * heads + first) * size * bytes;
    t.lse = lse + first * queries + piece.start;
    t.rows = piece.rows;
    t.before = piece.before;
    t.own_start = prefixes + piece.start;
    t.before_start = piece.before_start;
    t.window = window;
    t.size = size;
    t.heads = group();
    t.q_stride = q.stride(0);
    t.kv_stride = k.stride(0);
    t.o_stride = heads * size;
    t.lse_stride = queries;
    t.scale = static_cast<float>(scale);
    return t;
  }

  // Floats of scratch that a task needs at most; the body takes what it needs in order.
  int64_t scratch() const {
    int64_t keys = 0;
    for (const Piece& piece : pieces) keys = std::max(keys, piece.before + piece.rows);
    const int64_t width = padded(keys), wide_size = padded(size);
    return 5 * padded(width * wide_size) + 48 * (5 * width + 6 * wide_size) + 64 * 16;
  }

  // Runs body(task index, scratch) for all, the longest first, on all threads.
  template <typename Body>
  void each(const Body& body) const {
    std::vector<size_t> order(tasks());
    std::iota(order.begin(), order.end(), 0);
    auto cost = [this](size_t i) {
      const Piece& piece = pieces[i / kv_heads];
      return piece.rows * (piece.before + piece.rows / 2 + 16);
    };
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return cost(a) > cost(b); });
    std::atomic<size_t> next{0};
    const int64_t floats = scratch();
    at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), order.size()), 1, [&](int64_t, int64_t) {
      std::unique_ptr<float[]> buffer(new float[floats + 16]);
      float* aligned = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(buffer.get()) + 63) / 64 * 64);
      for (size_t i = next++; i < order.size(); i = next++) body(order[i], aligned);
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
  p.each([&](size_t index, float* scratch) {
    AttentionTask t = p.task(index, o_data, lse_data);
    t.scratch = scratch;
    GRAFT_DISPATCH(attend, t);
  });
  return {o, lse};
}

torch::autograd::variable_list backward_pass(const Problem& p, const at::Tensor& o, const at::Tensor& lse,
                                             const at::Tensor& go) {
  at::Tensor dq = at::empty({p.queries, p.heads, p.size}, p.q.options());
  at::Tensor dk = at::empty(p.k.sizes(), p.k.options().memory_format(at::MemoryFormat::Contiguous));
  at::Tensor dv = at::empty_like(dk);
  const int64_t size = padded(p.size);
  std::vector<int64_t> offsets;  // of each piece's part, in rows
  int64_t rows = 0;
  for (const Piece& piece : p.pieces) {
    offsets.push_back(rows);
    rows += piece.before + piece.rows;
  }
  // parts: [key or value][key head][rows of all pieces with what is before them][size]
  const int64_t per_head = rows * size;
  std::unique_ptr<float[]> parts(new float[2 * p.kv_heads * per_head]);
  auto part = [&](bool value, size_t piece, int64_t kv) {
    return parts.get() + ((value ? p.kv_heads : 0) + kv) * per_head + offsets[piece] * size;
  };
  char* o_data = const_cast<char*>(static_cast<const char*>(o.const_data_ptr()));
  float* lse_data = const_cast<float*>(lse.const_data_ptr<float>());
  const char* go_data = static_cast<const char*>(go.const_data_ptr());
  char* dq_data = static_cast<char*>(dq.mutable_data_ptr());
  p.each([&](size_t index, float* scratch) {
    AttentionTask t = p.task(index, o_data, lse_data);
    const size_t piece = index / p.kv_heads;
    const int64_t kv = index % p.kv_heads;
    t.scratch = scratch;
    t.go = go_data + (static_cast<char*>(t.o) - o_data);
    t.dq = dq_data + (static_cast<char*>(t.o) - o_data);
    t.dq_stride = p.heads * p.size;
    t.dk = part(false, piece, kv);
    t.dv = part(true, piece, kv);
    GRAFT_DISPATCH(attend, t);
  });
  // Every row of dk and dv: its own piece's part, then those of the pieces that saw it, in their order.
  at::parallel_for(0, 2 * p.kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const bool value = i >= p.kv_heads;
      const int64_t kv = i % p.kv_heads;
      std::vector<float> sums(p.k.size(0) * p.size, 0.0f);
      for (size_t n = 0; n < p.pieces.size(); n++) {
        const Piece& piece = p.pieces[n];
        const float* from = part(value, n, kv);
        auto add = [&](const float* source, int64_t start, int64_t count) {
          for (int64_t r = 0; r < count; r++)
            for (int64_t c = 0; c < p.size; c++) sums[(start + r) * p.size + c] += source[r * size + c];
        };
        add(from, piece.before_start, piece.before);
        add(from + piece.before * size, p.prefixes + piece.start, piece.rows);
      }
      at::Tensor whole = value ? dv : dk;
      const at::Tensor wide = at::from_blob(sums.data(), {p.k.size(0), p.size}, at::kFloat);
      whole.select(1, kv).copy_(wide);
    }
  });
  return {dq, dk, dv};
}

at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, c10::IntArrayRef pieces,
                         double scale, int64_t window) {
  return forward_pass(Problem(q, k, v, pieces, scale, window)).o;
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, std::vector<int64_t> pieces, double scale, int64_t window) {
    at::AutoDispatchBelowAutograd below;
    Result result = forward_pass(Problem(q, k, v, pieces, scale, window));
    context->save_for_backward({q, k, v, result.o, result.lse});
    context->saved_data["pieces"] = std::move(pieces);
    context->saved_data["scale"] = scale;
    context->saved_data["window"] = window;
    return result.o;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowAutograd below;
    const auto saved = context->get_saved_variables();
    const auto pieces = context->saved_data["pieces"].toIntVector();
    const Problem problem(saved[0], saved[1], saved[2], pieces, context->saved_data["scale"].toDouble(),
                          context->saved_data["window"].toInt());
    auto found = backward_pass(problem, saved[3], saved[4], gradients[0].contiguous());
    return {found[0], found[1], found[2], {}, {}, {}};
  }
};

at::Tensor attention_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, c10::IntArrayRef pieces,
                              double scale, int64_t window) {
  return Attention::apply(q, k, v, pieces.vec(), scale, window);
}

}  // namespace
}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("attention(Tensor q, Tensor k, Tensor v, int[] pieces, float scale, int window) -> Tensor");
}

TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("attention", graft::attention_cpu); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("attention", graft::attention_autograd); }
