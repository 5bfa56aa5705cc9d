// See tiles.h.
//   graft::tile_products() -> int       products so far, of all threads
//   graft::configured_threads() -> int  threads with a tile configuration that is not released
#include "../tiles.h"

#include <c10/util/Exception.h>
#include <torch/library.h>

#include <atomic>
#include <cmath>
#include <cstring>

namespace graft::emulated {
namespace {

constexpr int kTiles = 8, kMostRows = 16, kMostBytes = 64;

struct Tile {
  int rows = 0, bytes = 0;
  alignas(64) uint8_t data[kMostRows][kMostBytes] = {};
};

struct Unit {
  bool is_configured = false;
  Tile tiles[kTiles];
};

thread_local Unit unit;
std::atomic<int64_t> products, configured;

// Operand of LDTILECFG.
struct Config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Config) == 64);

Tile& used(int tile) {
  TORCH_CHECK(unit.is_configured, "tile ", tile, " is used before tiles are configured");
  TORCH_CHECK(unit.tiles[tile].rows > 0, "tile ", tile, " has no rows by the configuration");
  return unit.tiles[tile];
}

void check_memory(const Tile& t, int64_t stride) {
  TORCH_CHECK(t.rows == 1 || std::abs(stride) >= t.bytes, "rows of ", t.bytes, " bytes lie ", stride, " apart");
}

float wide(uint16_t bits) {
  const uint32_t word = uint32_t{bits} << 16;
  float x;
  std::memcpy(&x, &word, sizeof x);
  return x;
}

template <typename T>
T* row_of(Tile& t, int row) {
  return reinterpret_cast<T*>(t.data[row]);
}

// Rounds to nearest and treats denormals as 0 before and after each operation. The caller sets this mode, because the
// real instruction ignores the processor's settings.
#pragma GCC push_options
#pragma GCC target("avx2,fma")
[[gnu::noinline]] void add_products(Tile& sums, Tile& a, Tile& b) {
  for (int m = 0; m < sums.rows; m++) {
    float apart[2][16] = {};
    for (int k = 0; k < b.rows; k++)
      for (int half = 0; half < 2; half++) {
        const float x = wide(row_of<uint16_t>(a, m)[2 * k + half]);
        for (int n = 0; n < sums.bytes / 4; n++)
          apart[half][n] = __builtin_fmaf(x, wide(row_of<uint16_t>(b, k)[2 * n + half]), apart[half][n]);
      }
    for (int n = 0; n < sums.bytes / 4; n++) {
      const float both = apart[0][n] + apart[1][n];
      row_of<float>(sums, m)[n] += both;
    }
  }
}
#pragma GCC pop_options

}  // namespace

void load_config(const void* from) {
  Config c;
  std::memcpy(&c, from, sizeof c);
  TORCH_CHECK(c.palette == 1, "palette ", int{c.palette}, " of tiles, expected 1");
  bool is_zero = c.start_row == 0;
  for (const uint8_t byte : c.reserved) is_zero = is_zero && byte == 0;
  for (int i = kTiles; i < 16; i++) is_zero = is_zero && c.row_bytes[i] == 0 && c.rows[i] == 0;
  TORCH_CHECK(is_zero, "reserved bytes of the configuration of tiles are not 0");
  for (int i = 0; i < kTiles; i++)
    TORCH_CHECK(c.rows[i] <= kMostRows && c.row_bytes[i] <= kMostBytes && (c.rows[i] == 0) == (c.row_bytes[i] == 0), "tile ",
                i, " of ", int{c.rows[i]}, " rows of ", c.row_bytes[i], " bytes");
  if (!unit.is_configured) configured++;
  unit = {true, {}};
  for (int i = 0; i < kTiles; i++) {
    unit.tiles[i].rows = c.rows[i];
    unit.tiles[i].bytes = c.row_bytes[i];
  }
}

void release() {
  if (unit.is_configured) configured--;
  unit = {};
}

void zero(int tile) { std::memset(used(tile).data, 0, sizeof(Tile::data)); }

void load(int tile, const void* from, int64_t stride) {
  Tile& t = used(tile);
  check_memory(t, stride);
  std::memset(t.data, 0, sizeof t.data);
  for (int i = 0; i < t.rows; i++) std::memcpy(t.data[i], static_cast<const char*>(from) + i * stride, t.bytes);
}

void store(int tile, void* to, int64_t stride) {
  Tile& t = used(tile);
  check_memory(t, stride);
  for (int i = 0; i < t.rows; i++) std::memcpy(static_cast<char*>(to) + i * stride, t.data[i], t.bytes);
}

void multiply(int c, int a, int b) {
  TORCH_CHECK(c != a && c != b && a != b, "tiles ", c, ", ", a, " and ", b, " of a product are not three");
  Tile &sums = used(c), &left = used(a), &right = used(b);
  TORCH_CHECK(sums.rows == left.rows && sums.bytes == right.bytes && left.bytes == 4 * right.rows && sums.bytes % 4 == 0,
              "a product of tiles of ", left.rows, " rows of ", left.bytes, " bytes and ", right.rows, " of ", right.bytes,
              ", sums ", sums.rows, " of ", sums.bytes);
  const unsigned before = _mm_getcsr();
  _mm_setcsr(0x9fc0);  // denormals are 0, round to nearest, no exceptions
  add_products(sums, left, right);
  _mm_setcsr(before);
  products++;
}

namespace {

int64_t tile_products() { return products; }
int64_t configured_threads() { return configured; }

}  // namespace
}  // namespace graft::emulated

namespace graft {

bool may_use_tiles() { return true; }  // the emulated ones

}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("tile_products() -> int", graft::emulated::tile_products);
  m.def("configured_threads() -> int", graft::emulated::configured_threads);
}
