// AMX tiles for tests on processors without AMX. Each instruction does what Intel's manual specifies; each thread has
// its own tiles. What a processor would reject throws an error, and so do rows that overlap in memory, which it would
// accept. This shows neither that the kernel runs on such a processor, nor its speed.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace graft::emulated {

void load_config(const void* config);
void release();
void zero(int tile);
void load(int tile, const void* from, int64_t stride);
void store(int tile, void* to, int64_t stride);
void multiply(int sums, int a, int b);  // bf16 operands, f32 sums

}  // namespace graft::emulated

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig graft::emulated::load_config
#define _tile_release graft::emulated::release
#define _tile_zero graft::emulated::zero
#define _tile_loadd graft::emulated::load
#define _tile_stored graft::emulated::store
#define _tile_dpbf16ps graft::emulated::multiply
