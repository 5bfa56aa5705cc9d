// Includes GRAFT_BODY once for each instruction set (see isa.h), with these macros:
//   GRAFT_WIDTH     floats in a vector
//   GRAFT_COLUMNS   vectors in a row of a product's tile; with its 6 rows, they use all registers as accumulators
//   GRAFT_BF16_DOT  whether the processor multiplies pairs of bf16 into f32
// A body that does not use GRAFT_BF16_DOT would be compiled to the same instructions twice. Its file defines
// GRAFT_WITHOUT_DOTS, and its avx512bf16 is its avx512.
// No include guard: each file of operators uses it for its own body.

namespace generic {
#define GRAFT_WIDTH 4
#define GRAFT_COLUMNS 2
#define GRAFT_BF16_DOT 0
#include GRAFT_BODY
#undef GRAFT_WIDTH
#undef GRAFT_COLUMNS
#undef GRAFT_BF16_DOT
}  // namespace generic

#if GRAFT_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
namespace avx2 {
#define GRAFT_WIDTH 8
#define GRAFT_COLUMNS 2
#define GRAFT_BF16_DOT 0
#include GRAFT_BODY
#undef GRAFT_WIDTH
#undef GRAFT_COLUMNS
#undef GRAFT_BF16_DOT
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
namespace avx512 {
#define GRAFT_WIDTH 16
#define GRAFT_COLUMNS 4
#define GRAFT_BF16_DOT 0
#include GRAFT_BODY
#undef GRAFT_WIDTH
#undef GRAFT_COLUMNS
#undef GRAFT_BF16_DOT
}  // namespace avx512
#pragma GCC pop_options

#ifdef GRAFT_WITHOUT_DOTS
namespace avx512bf16 = avx512;
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
namespace avx512bf16 {
#define GRAFT_WIDTH 16
#define GRAFT_COLUMNS 4
#define GRAFT_BF16_DOT 1
#include GRAFT_BODY
#undef GRAFT_WIDTH
#undef GRAFT_COLUMNS
#undef GRAFT_BF16_DOT
}  // namespace avx512bf16
#pragma GCC pop_options
#endif

#endif
