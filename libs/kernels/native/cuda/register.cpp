#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string_view>

#include "bodies.h"

namespace graft::cuda {
namespace {

// What scripts/nvcc.mjs has them compiled for, at least: they do not start on older cards.
constexpr int kLeastCapability = 8;

bool are_for_all_cards() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // nobody else is to find it
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

// Asked for alone: no card has run them yet.
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
