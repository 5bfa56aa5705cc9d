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

#define GRAFT_BODY "few_rows.inc"
#include "isa_each.h"
#undef GRAFT_BODY

constexpr int64_t kMostRows = 24;
constexpr int64_t kGrain = 1 << 15;  // minimum values of W per thread
constexpr int64_t kLines = 4;        // lines per tile

const uint16_t* numbers(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

int64_t tiles_of(const FewRowsFactor& w) { return (w.lines + kLines - 1) / kLines; }

FewRowsTask task_of(const at::Tensor& a, int64_t lines, const at::Tensor* bias, at::Tensor& out) {
  return {numbers(a), a.stride(0), a.size(0), a.size(1), bias ? numbers(*bias) : nullptr,
          static_cast<uint16_t*>(out.mutable_data_ptr()), lines, 0, lines};
}

// Expands lines of a packed matrix to memory, four at a time, and multiplies them.
void by_lines_in_memory(const PackedMatrix& w, const FewRowsTask& whole) {
  static thread_local std::vector<uint16_t> lines;
  if (static_cast<int64_t>(lines.size()) < kLines * w.columns) lines.resize(kLines * w.columns);
  for (int64_t line = whole.first; line < whole.end; line += kLines) {
    const int64_t count = std::min(kLines, whole.end - line);
    w.read({line, count, 0, w.columns}, lines.data(), w.columns);
    FewRowsTask t = whole;
    t.bias = whole.bias ? whole.bias + line : nullptr;
    t.c += line;
    t.first = 0;
    t.end = count;
    GRAFT_DISPATCH(few_rows, t, lines.data(), w.columns);
  }
}

}  // namespace

bool is_few(int64_t rows) { return rows <= kMostRows; }

bool has_few_rows(const at::Tensor& a, const at::Tensor& b) {
  return is_few(a.size(0)) && a.size(1) > 0 && b.stride(0) == 1 && b.stride(1) >= b.size(0);
}

FewRowsFactor few_rows_factor(const at::Tensor& b, const at::Tensor* bias) {
  return {b.size(1), bias, [w = numbers(b), stride = b.stride(1)](const FewRowsTask& t) {
            GRAFT_DISPATCH(few_rows, t, w, stride);
          }};
}

FewRowsFactor few_rows_factor(const PackedMatrix& w, const at::Tensor* bias) {
  return {w.rows, bias, [&w](const FewRowsTask& t) {
            if (!w.multiply_few(t)) by_lines_in_memory(w, t);
          }};
}

std::vector<at::Tensor> few_rows_products(const at::Tensor& given, const std::vector<FewRowsFactor>& factors) {
  const at::Tensor a = given.stride(1) == 1 ? given : given.contiguous();
  std::vector<at::Tensor> out;
  std::vector<FewRowsTask> tasks;
  int64_t tiles = 0;
  for (const FewRowsFactor& w : factors) {
    out.push_back(at::empty({a.size(0), w.lines}, a.options()));
    tasks.push_back(task_of(a, w.lines, w.bias, out.back()));
    tiles += tiles_of(w);
  }
  // distributes the tiles of all factors among threads
  at::parallel_for(0, tiles, std::max<int64_t>(1, kGrain / (kLines * a.size(1))), [&](int64_t begin, int64_t end) {
    int64_t before = 0;
    for (size_t i = 0; i < factors.size(); before += tiles_of(factors[i++])) {
      FewRowsTask t = tasks[i];
      t.first = std::max<int64_t>(0, begin - before) * kLines;
      t.end = std::min(t.end, (end - before) * kLines);
      if (t.first < t.end) factors[i].multiply(t);
    }
  });
  return out;
}

at::Tensor few_rows_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor* bias) {
  return few_rows_products(a, {few_rows_factor(b, bias)})[0];
}

at::Tensor few_rows_product(const at::Tensor& a, const PackedMatrix& w, const at::Tensor* bias) {
  return few_rows_products(a, {few_rows_factor(w, bias)})[0];
}

}  // namespace graft
