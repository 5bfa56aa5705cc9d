#pragma once

namespace graft::cuda::emulated {

bool is_wrong(bool waits);  // runs a kernel that needs a barrier, with and without it
void run_half_waits();      // only half of the threads reach a barrier
void run_writes_past();     // writes past the end of shared memory

}  // namespace graft::cuda::emulated
