// Tiles of AMX: registers of 16 rows by 64 bytes, under Intel's names (_tile_loadd, _tile_dpbf16ps, …), which the addon
// that tests build has emulated.
#pragma once

#include "isa.h"

#ifdef GRAFT_EMULATED_TILES
#include "emulated/tiles.h"
#endif

namespace graft {

// Whether the processor multiplies tiles of bf16 and the system lets this process: asked once, at the first call.
bool may_use_tiles();

}  // namespace graft
