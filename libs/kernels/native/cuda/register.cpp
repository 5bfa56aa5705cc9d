#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string_view>

#include "bodies.h"

namespace graft::cuda {
namespace {

// Lowest compute capability that scripts/nvcc.mjs compiles for. Kernels do not start on older GPUs.
constexpr int kLeastCapability = 8;

bool are_for_all_cards() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // clears the error, so that no later call reports it
    return true;
  }
  for (int device = 0; device < count; device++) {
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) return false;
    if (major < kLeastCapability) return false;
  }
  return true;
}

}  // namespace

// Opt-in, because no GPU has run these kernels yet.
bool has_bodies() {
  static const bool has = [] {
    const char* own = std::getenv("GRAFT_OWN_KERNELS");
    return own && std::string_view(own) == "1" && are_for_all_cards();
  }();
  return has;
}

}  // namespace graft::cuda

TORCH_LIBRARY_IMPL(graft, CUDA, m) {
  if (graft::cuda::has_bodies()) graft::cuda::add_bodies(m);
}
