// Instruction sets. A file of plain loops is compiled once for each (`isa_each.h`), in a namespace of its own, and
// the best that the processor has is chosen when the addon is loaded: one source, no flags for the whole build.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GRAFT_X86 1
#include <immintrin.h>
#else
#define GRAFT_X86 0
#endif

namespace graft {

// The last has kernels of its own for products of bf16 matrices alone (tiles.h).
enum class Isa { kGeneric, kAvx2, kAvx512, kAvx512Bf16, kAmx };

Isa isa();  // the one in use

}  // namespace graft

// Calls `function` of the namespace that fits the processor.
#if GRAFT_X86
#define GRAFT_DISPATCH(function, ...)                                              \
  switch (graft::isa()) {                                                          \
    case graft::Isa::kAmx:                                                         \
    case graft::Isa::kAvx512Bf16: avx512bf16::function(__VA_ARGS__); break;        \
    case graft::Isa::kAvx512: avx512::function(__VA_ARGS__); break;                \
    case graft::Isa::kAvx2: avx2::function(__VA_ARGS__); break;                    \
    default: generic::function(__VA_ARGS__);                                       \
  }
#else
#define GRAFT_DISPATCH(function, ...) generic::function(__VA_ARGS__)
#endif
