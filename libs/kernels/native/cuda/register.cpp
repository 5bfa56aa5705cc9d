#include "bodies.h"

TORCH_LIBRARY_IMPL(graft, CUDA, m) { graft::cuda::add_bodies(m); }
