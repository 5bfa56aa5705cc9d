// NF4 (arXiv:2305.14314) in bitsandbytes' layout: a matrix W [out, in] as 4-bit values, 64 of which share a scale.
//
//   W_i = code[q_i] m_(i div blocksize)      m = largest |W| of the block      code: quantiles of N(0, 1), scaled to [-1, 1],
//                                                                             or floats of four bits (FP4)
//
// i counts row by row over the whole matrix, so blocks can span rows; the last block may be shorter. A byte holds two
// values, the first in its upper half; an odd last one is padded with 0.
// If quantized twice, m is a byte as well:  m_b = nested_code[m'_b] nested_absmax[b div nested_blocksize] + offset.
//
// packed_matrix.h multiplies with these matrices.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "isa.h"
#include "operator.h"
#include "packed_matrix.h"

namespace graft::nf4 {
namespace {

struct Code {
  float values[16];
  uint8_t order[16];  // codes ordered from the lowest value to the highest
};

constexpr Code kNf4 = {{
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
},
                       {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

// A sign, two exponent bits and one mantissa bit; 12 is the largest value.
constexpr Code kFp4 = {{0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12, 0.0f,
                        -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12},
                       {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}};

const Code& code_of(bool fp4) { return fp4 ? kFp4 : kNf4; }
constexpr float kLeast = 1e-38f;           // bitsandbytes' divisor if all values are 0
constexpr int64_t kGrain = 16384;          // values per task

// Returns the nearest code, the lower one of a tie.
uint8_t nearest(const Code& code, float x) {
  const auto value = [&](int i) { return code.values[code.order[i]]; };
  int found = 0;
  for (int i = 0; i < 15; i++) found += x > (value(i) + value(i + 1)) / 2;
  return code.order[found];
}

template <typename T>
void quantize_block(const Code& code, const T* from, int64_t count, bool whole, uint8_t* to, float* absmax) {
  float most = 0;
  for (int64_t i = 0; i < count; i++) {
    const float size = std::fabs(static_cast<float>(from[i]));
    if (size > most || size != size) most = size;  // NaN is kept
  }
  const float divisor = std::max(most, kLeast);
  *absmax = whole ? most : divisor;
  // bitsandbytes multiplies whole blocks by the inverse but divides the last one
  const float inverse = 1.0f / divisor;
  for (int64_t i = 0; i < count; i++) {
    const float x = static_cast<float>(from[i]);
    to[i] = nearest(code, std::clamp(whole ? x * inverse : x / divisor, -1.0f, 1.0f));
  }
}

template <typename T>
void quantize_blocks(const Code& code, const T* from, int64_t size, int64_t blocksize, uint8_t* packed, float* absmax) {
  const int64_t blocks = (size + blocksize - 1) / blocksize;
  at::parallel_for(0, blocks, std::max<int64_t>(1, kGrain / blocksize), [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> codes(blocksize);
    for (int64_t b = begin; b < end; b++) {
      const int64_t start = b * blocksize, count = std::min(blocksize, size - start);
      quantize_block(code, from + start, count, count == blocksize, codes.data(), absmax + b);
      if (count % 2) codes[count] = nearest(code, 0);
      for (int64_t i = 0; i < count; i += 2) packed[(start + i) / 2] = codes[i] << 4 | codes[i + 1];
    }
  });
}

std::tuple<at::Tensor, at::Tensor> nf4_quantize_cpu(const at::Tensor& given, int64_t blocksize, bool fp4) {
  TORCH_CHECK(blocksize > 0 && blocksize % 2 == 0, "blocks of an even number of numbers, got ", blocksize);
  const at::Tensor matrix = given.contiguous();
  const int64_t size = matrix.numel();
  at::Tensor packed = at::empty({(size + 1) / 2}, at::kByte);
  at::Tensor absmax = at::empty({(size + blocksize - 1) / blocksize}, at::kFloat);
  auto run = [&](auto* from) {
    quantize_blocks(code_of(fp4), from, size, blocksize, packed.mutable_data_ptr<uint8_t>(), absmax.mutable_data_ptr<float>());
  };
  switch (matrix.scalar_type()) {
    case at::kFloat: run(matrix.const_data_ptr<float>()); break;
    case at::kBFloat16: run(matrix.const_data_ptr<at::BFloat16>()); break;
    case at::kHalf: run(matrix.const_data_ptr<at::Half>()); break;
    default: TORCH_CHECK(false, "f32, bf16 or f16, got ", matrix.dtype());
  }
  return {packed, absmax};
}

struct Nf4Matrix : PackedMatrix {
  at::Tensor numbers, absmax, nested_absmax, nested_code;
  double offset;
  int64_t blocksize, nested_blocksize;
  const float* code;

  Nf4Matrix(const at::Tensor& numbers_, const at::Tensor& absmax_, const std::optional<at::Tensor>& nested_absmax_,
            const std::optional<at::Tensor>& nested_code_, double offset_, int64_t blocksize_, int64_t nested_blocksize_,
            c10::IntArrayRef shape, bool fp4)
      : numbers(numbers_.contiguous()),
        absmax(absmax_.contiguous()),
        offset(offset_),
        blocksize(blocksize_),
        nested_blocksize(nested_blocksize_),
        code(code_of(fp4).values) {
    TORCH_CHECK(shape.size() == 2 && shape[0] > 0 && shape[1] > 0, "a matrix, got ", shape);
    rows = shape[0];
    columns = shape[1];
    TORCH_CHECK(blocksize > 0 && blocksize % 2 == 0, "blocks of an even number of numbers, got ", blocksize);
    const int64_t size = rows * columns, blocks = (size + blocksize - 1) / blocksize;
    TORCH_CHECK(numbers.scalar_type() == at::kByte && numbers.numel() == (size + 1) / 2, "u8 [", (size + 1) / 2,
                "] for ", shape, ", got ", numbers.dtype(), " ", numbers.sizes());
    const bool nested = nested_absmax_ && nested_absmax_->defined();
    TORCH_CHECK(absmax.numel() == blocks && absmax.scalar_type() == (nested ? at::kByte : at::kFloat), "absmax of ",
                blocks, " blocks, got ", absmax.dtype(), " ", absmax.sizes());
    if (!nested) return;
    nested_absmax = nested_absmax_->contiguous();
    nested_code = nested_code_.value_or(at::Tensor()).contiguous();
    TORCH_CHECK(nested_blocksize > 0, "nested blocks of ", nested_blocksize);
    TORCH_CHECK(nested_absmax.scalar_type() == at::kFloat &&
                    nested_absmax.numel() == (blocks + nested_blocksize - 1) / nested_blocksize,
                "nested absmax of ", blocks, " blocks, got ", nested_absmax.dtype(), " ", nested_absmax.sizes());
    TORCH_CHECK(nested_code.scalar_type() == at::kFloat && nested_code.numel() == 256, "a nested code of 256 f32, got ",
                nested_code.dtype(), " ", nested_code.sizes());
  }

  bool nested() const { return nested_absmax.defined(); }

  at::Tensor dense(const Tile& tile, at::ScalarType dtype) const override;
  void read(const Tile& tile, uint16_t* to, int64_t stride) const override;
};

// Contents of a matrix on the CPU, in memory layout.
struct Nf4Numbers {
  const uint8_t* numbers;
  const float* absmax;  // or, if quantized twice:
  const uint8_t* nested;
  const float *nested_absmax, *nested_code;
  float offset;
  int64_t blocksize, nested_blocksize, columns;
  const float* code;

  explicit Nf4Numbers(const Nf4Matrix& w)
      : numbers(w.numbers.const_data_ptr<uint8_t>()),
        absmax(w.nested() ? nullptr : w.absmax.const_data_ptr<float>()),
        nested(w.nested() ? w.absmax.const_data_ptr<uint8_t>() : nullptr),
        nested_absmax(w.nested() ? w.nested_absmax.const_data_ptr<float>() : nullptr),
        nested_code(w.nested() ? w.nested_code.const_data_ptr<float>() : nullptr),
        offset(static_cast<float>(w.offset)),
        blocksize(w.blocksize),
        nested_blocksize(w.nested_blocksize),
        columns(w.columns),
        code(w.code) {}

  float scale(int64_t block) const {
    if (absmax) return absmax[block];
    const float product = nested_code[nested[block]] * nested_absmax[block / nested_blocksize];
    return product + offset;
  }
};

#define GRAFT_BODY "nf4.inc"
#define GRAFT_WITHOUT_DOTS
#include "isa_each.h"
#undef GRAFT_BODY
#undef GRAFT_WITHOUT_DOTS

template <typename T>
void dequantize_tile(const Nf4Numbers& w, const Tile& tile, T* to, int64_t stride) {
  for (int64_t r = 0; r < tile.rows; r++, to += stride) {
    const int64_t first = (tile.row + r) * w.columns + tile.column, past = first + tile.columns;
    if constexpr (std::is_same_v<T, at::BFloat16>) {
      GRAFT_DISPATCH(dequantize_line, w, first, past, reinterpret_cast<uint16_t*>(to));
    } else {
      for (int64_t i = first; i < past; i++) {
        const int number = i % 2 ? w.numbers[i / 2] & 15 : w.numbers[i / 2] >> 4;
        to[i - first] = static_cast<T>(w.code[number] * w.scale(i / w.blocksize));
      }
    }
  }
}

template <typename T>
void dequantize_all(const Nf4Matrix& matrix, const Tile& tile, T* out) {
  const Nf4Numbers w(matrix);
  at::parallel_for(0, tile.rows, std::max<int64_t>(1, kGrain / tile.columns), [&](int64_t begin, int64_t end) {
    dequantize_tile(w, {tile.row + begin, end - begin, tile.column, tile.columns}, out + begin * tile.columns,
                    tile.columns);
  });
}

// Dequantizes with libtorch's operators.
at::Tensor dequantize_composed(const Nf4Matrix& w, const Tile& tile, at::ScalarType dtype) {
  const auto whole = w.numbers.options().dtype(at::kLong);
  const at::Tensor rows = at::arange(tile.row, tile.row + tile.rows, whole).unsqueeze(1).mul(w.columns);
  const at::Tensor places = rows.add(at::arange(tile.column, tile.column + tile.columns, whole).unsqueeze(0));
  const at::Tensor pairs = w.numbers.take(places.div(2, "floor"));
  const at::Tensor codes = at::where(places.remainder(2).eq(0), pairs.div(16, "floor"), pairs.remainder(16));
  const at::Tensor blocks = places.div(w.blocksize, "floor");
  at::Tensor scale = w.absmax.take(blocks);
  if (w.nested()) {
    const at::Tensor unit = w.nested_code.take(scale.to(at::kLong));
    scale = unit.mul(w.nested_absmax.take(blocks.div(w.nested_blocksize, "floor"))).add(w.offset);
  }
  const at::Tensor code = at::tensor(c10::ArrayRef<float>(w.code, 16)).to(w.numbers.device());
  return code.take(codes.to(at::kLong)).mul(scale).to(dtype);
}

// out: f32 or bf16 [rows, columns]; code: its 16 values; tile: its four bounds
using DenseBody = void(at::Tensor out, const at::Tensor& numbers, const at::Tensor& absmax,
                       const std::optional<at::Tensor>& nested_absmax, const std::optional<at::Tensor>& nested_code,
                       double offset, int64_t blocksize, int64_t nested_blocksize, c10::ArrayRef<double> code,
                       int64_t columns, c10::IntArrayRef tile);

// Dequantizes with another device's implementation; returns an undefined tensor if there is none.
at::Tensor dense_by_body(const Nf4Matrix& w, const Tile& tile, at::ScalarType dtype) {
  static const auto body = operator_of<DenseBody>("graft::nf4_dense_");
  const auto key = w.numbers.is_cpu() ? c10::DispatchKey::CPU : c10::DispatchKey::CUDA;
  if ((dtype != at::kFloat && dtype != at::kBFloat16) || !body.hasKernelForDispatchKey(key)) return {};
  at::Tensor out = at::empty({tile.rows, tile.columns}, w.numbers.options().dtype(dtype));
  const auto given = [&w](const at::Tensor& x) { return w.nested() ? std::optional<at::Tensor>(x) : std::nullopt; };
  const std::vector<double> code(w.code, w.code + 16);
  const int64_t part[4] = {tile.row, tile.rows, tile.column, tile.columns};
  body.call(out, w.numbers, w.absmax, given(w.nested_absmax), given(w.nested_code), w.offset, w.blocksize,
            w.nested_blocksize, code, w.columns, part);
  return out;
}

at::Tensor Nf4Matrix::dense(const Tile& tile, at::ScalarType dtype) const {
  const at::Tensor made = dense_by_body(*this, tile, dtype);
  if (made.defined()) return made;
  const bool own = dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
  if (!numbers.device().is_cpu() || !own) return dequantize_composed(*this, tile, dtype);
  at::Tensor out = at::empty({tile.rows, tile.columns}, numbers.options().dtype(dtype));
  if (dtype == at::kFloat) dequantize_all(*this, tile, out.mutable_data_ptr<float>());
  if (dtype == at::kBFloat16) dequantize_all(*this, tile, out.mutable_data_ptr<at::BFloat16>());
  if (dtype == at::kHalf) dequantize_all(*this, tile, out.mutable_data_ptr<at::Half>());
  return out;
}

void Nf4Matrix::read(const Tile& tile, uint16_t* to, int64_t stride) const {
  dequantize_tile(Nf4Numbers(*this), tile, reinterpret_cast<at::BFloat16*>(to), stride);
}

at::Tensor nf4_dequantize(const at::Tensor& numbers, const at::Tensor& absmax,
                          const std::optional<at::Tensor>& nested_absmax, const std::optional<at::Tensor>& nested_code,
                          double offset, int64_t blocksize, int64_t nested_blocksize, c10::IntArrayRef shape,
                          bool fp4, at::ScalarType dtype, bool composed) {
  const Nf4Matrix w(numbers, absmax, nested_absmax, nested_code, offset, blocksize, nested_blocksize, shape, fp4);
  return composed ? dequantize_composed(w, w.whole(), dtype) : w.dense(w.whole(), dtype);
}

at::Tensor nf4_linear(const at::Tensor& x, const at::Tensor& numbers, const at::Tensor& absmax,
                      const std::optional<at::Tensor>& nested_absmax, const std::optional<at::Tensor>& nested_code,
                      double offset, int64_t blocksize, int64_t nested_blocksize, c10::IntArrayRef shape,
                      bool fp4, const std::optional<at::Tensor>& bias) {
  const Nf4Matrix w(numbers, absmax, nested_absmax, nested_code, offset, blocksize, nested_blocksize, shape, fp4);
  return multiply(w, x, bias);
}

at::Tensor nf4_linear_autograd(const at::Tensor& x, const at::Tensor& numbers, const at::Tensor& absmax,
                               const std::optional<at::Tensor>& nested_absmax,
                               const std::optional<at::Tensor>& nested_code, double offset, int64_t blocksize,
                               int64_t nested_blocksize, c10::IntArrayRef shape,
                               bool fp4, const std::optional<at::Tensor>& bias) {
  const auto w = c10::make_intrusive<Nf4Matrix>(numbers, absmax, nested_absmax, nested_code, offset, blocksize,
                                                nested_blocksize, shape, fp4);
  return multiply_autograd(w, x, bias);
}

}  // namespace
}  // namespace graft::nf4

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("nf4_quantize(Tensor matrix, int blocksize, bool fp4) -> (Tensor, Tensor)");
  m.def(
      "nf4_dense_(Tensor(a!) out, Tensor numbers, Tensor absmax, Tensor? nested_absmax, Tensor? nested_code, "
      "float offset, int blocksize, int nested_blocksize, float[] code, int columns, int[] tile) -> ()");
  m.def(
      "nf4_dequantize(Tensor numbers, Tensor absmax, Tensor? nested_absmax, Tensor? nested_code, float offset, "
      "int blocksize, int nested_blocksize, int[] shape, bool fp4, ScalarType dtype, bool composed) -> Tensor",
      graft::nf4::nf4_dequantize);
  m.def(
      "nf4_linear(Tensor x, Tensor numbers, Tensor absmax, Tensor? nested_absmax, Tensor? nested_code, float offset, "
      "int blocksize, int nested_blocksize, int[] shape, bool fp4, Tensor? bias) -> Tensor");
}

TORCH_LIBRARY_IMPL(graft, CPU, m) {
  m.impl("nf4_quantize", graft::nf4::nf4_quantize_cpu);
  m.impl("nf4_linear", graft::nf4::nf4_linear);
}
// its composition runs on any device
TORCH_LIBRARY_IMPL(graft, CUDA, m) { m.impl("nf4_linear", graft::nf4::nf4_linear); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("nf4_linear", graft::nf4::nf4_linear_autograd); }
