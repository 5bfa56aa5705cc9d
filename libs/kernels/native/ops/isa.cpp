// graft::instruction_set(wanted) -> the set in use: the processor's best, or `wanted` from now on (-1: no change).
// graft::instruction_sets() -> number of selectable sets
// GRAFT_ISA, validated in src/native.ts, limits the best set. AMX is used only if GRAFT_ISA or `wanted` selects it: no
// processor with AMX has run the tests yet.
#include "isa.h"

#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tiles.h"

namespace graft {
namespace {

constexpr std::string_view kNames[] = {"generic", "avx2", "avx512", "avx512bf16", "amx"};

// The processor's set, not counting AMX.
Isa of_processor() {
#if GRAFT_X86
#define HAS(feature) __builtin_cpu_supports(feature)
  // f16c is assumed: every such processor has it
  const bool avx2 = HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2");
  const bool avx512 = avx2 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl");
#undef HAS
  if (avx512) return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512;
  if (avx2) return Isa::kAvx2;
#endif
  return Isa::kGeneric;
}

// Highest selectable set.
Isa best() {
  const char* limit = std::getenv("GRAFT_ISA");
  const auto found = std::find(std::begin(kNames), std::end(kNames), limit ? limit : "amx") - std::begin(kNames);
  const Isa most = static_cast<Isa>(found), vectors = of_processor();
  return most == Isa::kAmx && vectors == Isa::kAvx512Bf16 && may_use_tiles() ? most : std::min(vectors, most);
}

std::atomic<Isa>& chosen() {
  static std::atomic<Isa> value{std::getenv("GRAFT_ISA") ? best() : of_processor()};
  return value;
}

int64_t instruction_sets() { return static_cast<int64_t>(best()) + 1; }

int64_t instruction_set(int64_t wanted) {
  if (wanted >= 0) {
    TORCH_CHECK(wanted <= static_cast<int64_t>(best()), "this processor has no such instruction set, or GRAFT_ISA excludes it");
    chosen() = static_cast<Isa>(wanted);
  }
  return static_cast<int64_t>(isa());
}

}  // namespace

Isa isa() { return chosen(); }

}  // namespace graft

TORCH_LIBRARY_FRAGMENT(graft, m) {
  m.def("instruction_set(int wanted) -> int", graft::instruction_set);
  m.def("instruction_sets() -> int", graft::instruction_sets);
}
