// The bodies of our operators for a device of CUDA, registered for its dispatch key: what libs/kernels/native/ops has for
// the CPU. The same code over emulated/ is registered for the CPU in a test.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cstdint>

#include "kernels.h"

#ifndef GRAFT_EMULATED
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace graft::cuda {

#ifdef GRAFT_EMULATED
struct On {
  explicit On(const at::Tensor&) {}
  Stream stream() const { return nullptr; }
};
#else
// A tensor's device is the current one while this lives.
class On {
 public:
  explicit On(const at::Tensor& x) : guard_(x.device()) {}
  Stream stream() const { return c10::cuda::getCurrentCUDAStream().stream(); }

 private:
  c10::cuda::CUDAGuard guard_;
};
#endif

template <typename T>
T* data(const at::Tensor& x) {
  return static_cast<T*>(const_cast<void*>(x.const_data_ptr()));
}

// Calls body(T{}) with the kind of numbers that x has.
template <typename Body>
void by_kind(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kFloat) return body(float{});
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "f32 or bf16, got ", x.dtype());
  body(Bf16{});
}

void add_bodies(torch::Library& m);
void add_attention(torch::Library& m);

}  // namespace graft::cuda
