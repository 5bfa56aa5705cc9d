#pragma once

namespace graft::cuda::emulated {

bool is_wrong(bool waits);  // of a kernel that needs a barrier, with and without it
void run_half_waits();      // at a barrier
void run_writes_past();     // shared memory

}  // namespace graft::cuda::emulated
