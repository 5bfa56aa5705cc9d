// Tile programs for tests.
//   graft::tile_product(c, a, b) -> Tensor  one instruction: c [rows, 16] f32, a [rows, 2 units], b [units, 32] in pairs, bf16
//   graft::tile_fault(which) -> ()          a program with a fault, which must be detected
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <functional>
#include <iterator>

#include "tiles.h"

namespace graft::emulated {
namespace {

struct Size {
  int64_t rows, bytes;
};

struct Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Configures tiles 0 to 2.
void configure(Size c, Size a, Size b, uint8_t palette = 1) {
  Config config;
  config.palette = palette;
  const Size sizes[] = {c, a, b};
  for (int i = 0; i < 3; i++) {
    config.rows[i] = static_cast<uint8_t>(sizes[i].rows);
    config.row_bytes[i] = static_cast<uint16_t>(sizes[i].bytes);
  }
  _tile_loadconfig(&config);
}

at::Tensor tile_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(c.is_contiguous() && a.is_contiguous() && b.is_contiguous(), "expected contiguous tensors");
  at::Tensor out = at::empty_like(c);
  const Size sizes[] = {{c.size(0), 4 * c.size(1)}, {a.size(0), 2 * a.size(1)}, {b.size(0), 2 * b.size(1)}};
  configure(sizes[0], sizes[1], sizes[2]);
  _tile_loadd(0, c.const_data_ptr(), sizes[0].bytes);
  _tile_loadd(1, a.const_data_ptr(), sizes[1].bytes);
  _tile_loadd(2, b.const_data_ptr(), sizes[2].bytes);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, out.mutable_data_ptr(), sizes[0].bytes);
  _tile_release();
  return out;
}

constexpr Size kWhole{16, 64};
alignas(64) uint8_t memory[16 * 64];

const std::function<void()> kFaults[] = {
    [] { _tile_zero(0); },
    [] {
      configure(kWhole, kWhole, kWhole);
      _tile_loadd(3, memory, 64);
    },
    [] {
      configure(kWhole, {15, 64}, kWhole);
      _tile_dpbf16ps(0, 1, 2);
    },
    [] {
      configure(kWhole, {16, 32}, kWhole);
      _tile_dpbf16ps(0, 1, 2);
    },
    [] {
      configure(kWhole, kWhole, kWhole);
      _tile_dpbf16ps(0, 1, 1);
    },
    [] {
      configure(kWhole, kWhole, kWhole);
      _tile_loadd(0, memory, 32);
    },
    [] { configure({17, 64}, kWhole, kWhole); },
    [] { configure({16, 0}, kWhole, kWhole); },
    [] { configure(kWhole, kWhole, kWhole, 2); },
};

void tile_fault(int64_t which) {
  TORCH_CHECK(which >= 0 && which < std::ssize(kFaults), "there is no such program");
  _tile_release();
  try {
    kFaults[which]();
  } catch (...) {
    _tile_release();
    throw;
  }
}

}  // namespace
}  // namespace graft::emulated

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("tile_product(Tensor c, Tensor a, Tensor b) -> Tensor", graft::emulated::tile_product);
  m.def("tile_fault(int which) -> ()", graft::emulated::tile_fault);
}
