// See few_rows.h.
#include "few_rows.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isa.h"

namespace graft {
namespace {

struct FewRowsTask {
  const uint16_t* a;
  int64_t a_stride, rows, depth;
  const uint16_t* w;
  int64_t w_stride;
  const uint16_t* bias;  // or none
  uint16_t* c;
  int64_t c_stride, first, end;  // columns of C
};

#define GRAFT_BODY "few_rows.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kMostRows = 24;
constexpr int64_t kGrain = 1 << 15;  // numbers of W that a thread reads at least
constexpr int64_t kLines = 4;        // of a tile

const uint16_t* numbers(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

// The lines' tiles among threads.
template <typename Run>
void by_tiles(int64_t lines, int64_t depth, const Run& run) {
  const int64_t tiles = (lines + kLines - 1) / kLines;
  at::parallel_for(0, tiles, std::max<int64_t>(1, kGrain / (kLines * depth)), [&](int64_t begin, int64_t end) {
    run(begin * kLines, std::min(lines, end * kLines));
  });
}

}  // namespace

bool is_few(int64_t rows) { return rows <= kMostRows; }

bool has_few_rows(const at::Tensor& a, const at::Tensor& b) {
  return is_few(a.size(0)) && a.size(1) > 0 && b.stride(0) == 1 && b.stride(1) >= b.size(0);
}

at::Tensor few_rows_product(const at::Tensor& given, const at::Tensor& b, const at::Tensor* bias) {
  const at::Tensor a = given.stride(1) == 1 ? given : given.contiguous();
  const int64_t n = b.size(1), depth = a.size(1);
  at::Tensor out = at::empty({a.size(0), n}, a.options());
  FewRowsTask whole{numbers(a),   a.stride(0), a.size(0), depth, numbers(b), b.stride(1), bias ? numbers(*bias) : nullptr,
                    static_cast<uint16_t*>(out.mutable_data_ptr()), n, 0, n};
  by_tiles(n, depth, [&](int64_t first, int64_t end) {
    FewRowsTask t = whole;
    t.first = first;
    t.end = end;
    GRAFT_DISPATCH(few_rows, t);
  });
  return out;
}

at::Tensor few_rows_product(const at::Tensor& a, const PackedMatrix& w, const at::Tensor* bias) {
  at::Tensor out = at::empty({a.size(0), w.rows}, a.options());
  auto* c = static_cast<uint16_t*>(out.mutable_data_ptr());
  by_tiles(w.rows, w.columns, [&](int64_t first, int64_t end) {
    static thread_local std::vector<uint16_t> lines;
    if (static_cast<int64_t>(lines.size()) < kLines * w.columns) lines.resize(kLines * w.columns);
    for (int64_t line = first; line < end; line += kLines) {
      const int64_t count = std::min(kLines, end - line);
      w.read({line, count, 0, w.columns}, lines.data(), w.columns);
      const uint16_t* added = bias ? numbers(*bias) + line : nullptr;
      const FewRowsTask t{numbers(a), a.stride(0), a.size(0), w.columns, lines.data(), w.columns, added,
                          c + line,   w.rows,      0,         count};
      GRAFT_DISPATCH(few_rows, t);
    }
  });
  return out;
}

}  // namespace graft
