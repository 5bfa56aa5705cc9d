// C = α A B + β D      A: [m, k]  B: [k, n]  C: [m, n]  D: [n] or [m, n], bf16; sums in f32, each value rounded once
//
// One instruction multiplies pairs of neighbors along k and adds them to 16 sums. 64 columns of B at a time, a panel, are
// packed as such pairs, [k / 2][64], into memory that stays in the L2 cache. All rows of a thread are multiplied by it:
// 6 rows by 64 columns of sums are in registers, and a pair of A is broadcast from its place. B is read in either memory
// order, so one frozen weight serves x Wᵀ and dy W (ADR 0023 has the gain of copies packed in advance). From a packed B,
// tiles of 4,096 values are expanded first. If A is transposed, as in the gradients of LoRA's factors, A is packed in the
// same way, because its pairs are not adjacent.
//
// With GRAFT_ISA=amx, tiles use the same panels: packed_tiles.inc.
//
// A row of C has the same bits for any other rows and threads: its sums run along k from 0.
#include "packed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "isa.h"
#include "tiles.h"

namespace graft {
namespace {

constexpr int64_t kPanel = 64;       // columns of B per panel
constexpr int64_t kWhole = 3072;     // depth up to which a panel is packed whole: 384 kB, in an L2 cache of 1 MB
// depth of the stretches of deeper panels, so that 256 rows of A also stay in the cache
constexpr int64_t kStretch = 1024;
constexpr int64_t kMost = 6 << 10;   // rows of panels whose sums are stored in f32 between two stretches: 1.5 MB
constexpr int64_t kGrain = 1 << 19;  // minimum multiplications per thread
constexpr int64_t kFewLines = 64;    // limit for the lines of A or B if A is transposed

struct ProductTask {
  const uint16_t* a;
  int64_t a_row, a_unit;  // strides of A from row to row, and from pair to pair along k
  const uint16_t* b;
  int64_t b_stride;
  const PackedMatrix* packed;  // replaces b, or null
  bool b_lines;  // whether columns of B, not rows, are contiguous
  const uint16_t* d;  // or null
  int64_t d_row;
  uint16_t* c;
  int64_t c_row;
  int64_t columns, depth;
  float alpha, beta;
};

struct Share {
  int64_t row, end, column, from, depth;
};

#if GRAFT_X86
#define GRAFT_BODY "packed_product.inc"
#include "isa_each.h"
#undef GRAFT_BODY

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
#pragma GCC target("amx-tile,amx-bf16")
namespace amx {
using namespace avx512bf16;
#include "packed_tiles.inc"
}  // namespace amx
#pragma GCC pop_options

struct Body {
  int64_t rows;  // minimum rows of C per thread
  void (*share)(const ProductTask&, const Share&, uint32_t* panel, float* partial);
};

const Body& body() {
  static constexpr Body kVectors{6, avx512bf16::panel_share}, kTiles{32, amx::panel_share};
  return isa() == Isa::kAmx ? kTiles : kVectors;
}

struct alignas(64) Line {
  uint32_t words[16];
};

// Thread-local memory that is reused between products.
template <typename T>
T* kept(int64_t count) {
  static thread_local std::vector<Line> lines;
  const size_t needed = (count + 15) / 16;
  if (lines.size() < needed) lines.resize(needed);
  return reinterpret_cast<T*>(lines.data());
}

// Distributes shares among threads. They are numbered panel by panel, in groups of rows, so that threads have equal
// numbers and few panels are packed twice.
void multiply(const ProductTask& t, int64_t rows) {
  const Body& own = body();
  const int64_t groups = (rows + own.rows - 1) / own.rows, panels = (t.columns + kPanel - 1) / kPanel;
  const int64_t depth = t.depth > kWhole ? kStretch : t.depth, most = depth < t.depth ? kMost / own.rows : groups * panels;
  const int64_t grain = std::max<int64_t>(1, kGrain / (own.rows * kPanel * t.depth));
  at::parallel_for(0, groups * panels, grain, [&](int64_t first, int64_t last) {
    uint32_t* panel = kept<uint32_t>((depth + 31) / 32 * 16 * kPanel);
    float* partial = depth < t.depth ? kept<float>(std::min(last - first, most) * own.rows * kPanel) : nullptr;
    for (int64_t begin = first; begin < last; begin += most) {
      const int64_t end = std::min(last, begin + most);
      for (int64_t from = 0; from < t.depth; from += depth)
        for (int64_t i = begin, next; i < end; i = next) {
          next = std::min(end, (i / groups + 1) * groups);
          const int64_t row = i % groups * own.rows, count = (next - i) * own.rows;
          const Share share{row, std::min(rows, row + count), i / groups * kPanel, from, std::min(depth, t.depth - from)};
          own.share(t, share, panel, partial ? partial + (i - begin) * own.rows * kPanel : nullptr);
        }
    }
  });
}
#endif

const uint16_t* numbers(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

bool along(const at::Tensor& x) { return x.size(1) == 1 || (x.stride(1) == 1 && x.stride(0) >= x.size(1)); }
bool across(const at::Tensor& x) { return x.size(0) == 1 || (x.stride(0) == 1 && x.stride(1) >= x.size(0)); }

// Returns A itself if each row has contiguous pairs, otherwise a copy; an odd row is padded with a zero.
at::Tensor with_pairs(const at::Tensor& a) {
  const int64_t depth = a.size(1), even = (depth + 1) / 2 * 2;
  if (depth == even && a.stride(1) == 1) return a;
  at::Tensor whole = at::empty({a.size(0), even}, a.options());
  whole.narrow(1, 0, depth).copy_(a);
  if (even > depth) whole.narrow(1, depth, 1).zero_();
  return whole;
}

// Pairs of a transposed A: [k / 2][64]
at::Tensor pairs_across(const at::Tensor& a) {
  const int64_t depth = a.size(1);
  at::Tensor pairs = at::empty({(depth + 1) / 2, kPanel}, a.options().dtype(at::kInt));
#if GRAFT_X86
  avx512bf16::pack_rows(numbers(a), a.stride(1), a.size(0), depth, static_cast<uint32_t*>(pairs.mutable_data_ptr()));
#endif
  return pairs;
}

// Returns a transposed A in rows with contiguous pairs, as tiles need it.
at::Tensor turned(const at::Tensor& a) {
  const at::Tensor pairs = pairs_across(a);
  const int64_t rows = (a.size(0) + 15) / 16 * 16, units = (pairs.size(0) + 15) / 16 * 16;
  at::Tensor turned = at::empty({rows, 2 * units}, a.options());
#if GRAFT_X86
  avx512bf16::turn_pairs(static_cast<const uint32_t*>(pairs.const_data_ptr()), rows, pairs.size(0),
                         static_cast<uint32_t*>(turned.mutable_data_ptr()), units);
#endif
  return turned;
}

bool lies_across(const at::Tensor& a) { return !along(a) && across(a); }

// Whether oneDNN multiplies with AMX tiles, which are faster than vectors. Any GRAFT_ISA disables that or selects our
// tiles.
bool is_left_to_onednn() {
#if GRAFT_X86
  static const bool found = !std::getenv("GRAFT_ISA") && __builtin_cpu_supports("amx-bf16");
  return found;
#else
  return false;
#endif
}

// Computes C of a task that describes all of B.
at::Tensor product(ProductTask& t, const at::Tensor& left, int64_t rows, const Sum& sum, const at::Tensor& out) {
  t.a = numbers(left);
  if (sum.d) {
    t.d = numbers(*sum.d);
    t.d_row = sum.d->dim() == 2 ? sum.d->stride(0) : 0;
  }
  t.c = static_cast<uint16_t*>(out.mutable_data_ptr());
  t.c_row = out.stride(0);
  t.columns = out.size(1);
  t.alpha = sum.alpha;
  t.beta = sum.beta;
#if GRAFT_X86
  multiply(t, rows);
#endif
  return out;
}

}  // namespace

bool has_packed_product() { return isa() == Isa::kAmx || (isa() == Isa::kAvx512Bf16 && !is_left_to_onednn()); }

bool has_packed_product(const at::Tensor& a, const at::Tensor& b) {
  if (!has_packed_product()) return false;
  return !lies_across(a) || std::min(a.size(0), b.size(1)) <= kFewLines;
}

at::Tensor packed_product(const at::Tensor& a, const at::Tensor& b, const Sum& sum, const at::Tensor* given) {
  const bool is_across = lies_across(a);
  if (is_across && a.size(0) > kFewLines && !sum.d) {
    const at::Tensor turned = packed_product(b.t(), a.t(), sum).t();
    return given ? given->copy_(turned) : turned.contiguous();
  }
  const bool is_few = is_across && a.size(0) <= kFewLines, is_packed = is_few && isa() != Isa::kAmx;
  const at::Tensor left = is_packed ? pairs_across(a) : is_few ? turned(a) : with_pairs(a);
  const at::Tensor right = along(b) || across(b) ? b : b.contiguous();
  const at::Tensor out = given ? *given : at::empty({a.size(0), b.size(1)}, a.options());
  ProductTask t{};
  t.a_row = is_packed ? 2 : left.stride(0);
  t.a_unit = is_packed ? 2 * kPanel : 2;
  t.b = numbers(right);
  t.b_lines = !along(right);
  t.b_stride = right.stride(t.b_lines ? 1 : 0);
  t.depth = a.size(1);
  return product(t, left, a.size(0), sum, out);
}

at::Tensor packed_product(const at::Tensor& a, const PackedMatrix& w, bool forward, const Sum& sum) {
  const at::Tensor left = with_pairs(a);
  ProductTask t{};
  t.a_row = left.stride(0);
  t.a_unit = 2;
  t.packed = &w;
  t.b_lines = forward;
  t.depth = a.size(1);
  return product(t, left, a.size(0), sum, at::empty({a.size(0), forward ? w.rows : w.columns}, a.options()));
}

}  // namespace graft
