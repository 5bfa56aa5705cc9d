// AMX tiles: registers of 16 rows by 64 bytes, under Intel's names (_tile_loadd, _tile_dpbf16ps, …). The tests' addon
// emulates them.
#pragma once

#include "isa.h"

#ifdef GRAFT_EMULATED_TILES
#include "emulated/tiles.h"
#endif

namespace graft {

// Whether the processor has bf16 tiles and the system permits them; requested once, at the first call.
bool may_use_tiles();

}  // namespace graft
