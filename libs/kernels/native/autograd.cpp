// Gradients: the two entry points of the engine, and the queries per tensor (leaf, requires_grad, grad).
#include "addon.h"
#include "recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <stdexcept>

namespace graft {
namespace {

const at::Tensor& tensor_argument(const Napi::CallbackInfo& info) {
  return addon(info).get(info[0].As<Napi::Number>().DoubleValue());
}

std::vector<at::Tensor> read_tensors(Addon& state, Reader& in) {
  std::vector<at::Tensor> tensors;
  if (in.tag() != kList) throw std::runtime_error("a list of tensors is wanted");
  const size_t n = in.count();
  tensors.reserve(n);
  for (size_t i = 0; i < n; i++)
    tensors.push_back(in.tag() == kTensor ? state.get(in.next()) : at::Tensor());
  return tensors;
}

// backward(): outputs, gradients from the exchange buffer; accumulates in the leaves
Napi::Value backward(const Napi::CallbackInfo& info) {
  Addon& state = addon(info);
  Reader in = state.reader();
  const auto outputs = read_tensors(state, in);
  const auto gradients = read_tensors(state, in);
  InThisThread here;
  torch::autograd::backward(outputs, gradients);
  return info.Env().Undefined();
}

// gradients(): outputs, inputs, gradients from the exchange buffer; unused inputs give null
Napi::Value gradients(const Napi::CallbackInfo& info) {
  Addon& state = addon(info);
  Reader in = state.reader();
  const auto outputs = read_tensors(state, in);
  const auto inputs = read_tensors(state, in);
  const auto seeds = read_tensors(state, in);
  InThisThread here;
  const auto results = torch::autograd::grad(outputs, inputs, seeds, std::nullopt, false, true);
  std::vector<c10::IValue> values(results.begin(), results.end());
  return Napi::Number::New(info.Env(), static_cast<double>(state.write(std::move(values))));
}

// set_grad_enabled(on) -> previous value
Napi::Value set_grad_enabled(const Napi::CallbackInfo& info) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(info[0].As<Napi::Boolean>().Value());
  return Napi::Boolean::New(info.Env(), before);
}

Napi::Value requires_grad(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), tensor_argument(info).requires_grad());
}

Napi::Value set_requires_grad(const Napi::CallbackInfo& info) {
  const at::Tensor& tensor = tensor_argument(info);
  if (!tensor.is_leaf()) throw std::runtime_error("requires_grad can only be changed on leaves; use detach()");
  tensor.set_requires_grad(info[1].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// grad(handle): the accumulated gradient or null, through the exchange buffer
Napi::Value grad(const Napi::CallbackInfo& info) {
  const at::Tensor& tensor = tensor_argument(info);
  const bool may_have = tensor.is_leaf() || tensor.retains_grad();  // reading grad of other tensors prints a warning
  std::vector<c10::IValue> values{may_have ? tensor.grad() : at::Tensor()};
  return Napi::Number::New(info.Env(), static_cast<double>(addon(info).write(std::move(values))));
}

Napi::Value clear_grad(const Napi::CallbackInfo& info) {
  const at::Tensor& tensor = tensor_argument(info);
  if (tensor.is_leaf()) tensor.mutable_grad().reset();
  return info.Env().Undefined();
}

}  // namespace

void init_autograd(Napi::Object& exports) {
  define<backward>(exports, "backward");
  define<gradients>(exports, "gradients");
  define<set_grad_enabled>(exports, "setGradEnabled");
  define<requires_grad>(exports, "requiresGrad");
  define<set_requires_grad>(exports, "setRequiresGrad");
  define<grad>(exports, "grad");
  define<clear_grad>(exports, "clearGrad");
}

}  // namespace graft
