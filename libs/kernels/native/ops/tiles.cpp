// See tiles.h.
#include "tiles.h"

#if GRAFT_X86 && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace graft {
namespace {

bool ask() {
#if GRAFT_X86 && defined(__linux__)
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16")) return false;
  // Since 5.16, Linux saves these registers (8 kB) only for processes that request it
  // (Documentation/arch/x86/xstate.rst). The permission covers all threads and ends with the process.
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool may_use_tiles() {
  static const bool may = ask();
  return may;
}

}  // namespace graft
