// CUDA implementations of our operators, registered for the CUDA dispatch key, as libs/kernels/native/ops does for the
// CPU. A test registers the same code over emulated/ for the CPU.
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
// Makes a tensor's device the current one during its lifetime.
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

// Calls body(T{}) with the element type of x.
template <typename Body>
void by_kind(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kFloat) return body(float{});
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "f32 or bf16, got ", x.dtype());
  body(Bf16{});
}

void add_bodies(torch::Library& m);
void add_attention(torch::Library& m);

}  // namespace graft::cuda
