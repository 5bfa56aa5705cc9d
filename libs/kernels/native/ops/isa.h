// Instruction sets. `isa_each.h` compiles a file of plain loops once for each set, in its own namespace. The addon
// selects the processor's best set when it is loaded. There is one source, and no global compiler flags.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GRAFT_X86 1
#include <immintrin.h>
#else
#define GRAFT_X86 0
#endif

namespace graft {

// kAmx only differs in products of bf16 matrices (tiles.h).
enum class Isa { kGeneric, kAvx2, kAvx512, kAvx512Bf16, kAmx };

Isa isa();  // the set in use

}  // namespace graft

// Calls `function` of the namespace for the set in use.
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
