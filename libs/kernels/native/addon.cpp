// Registers the parts of the addon in order, and the state of each JavaScript thread.
#include "addon.h"

#include <c10/util/Exception.h>

#include <stdexcept>

namespace graft {

double Reader::next() {
  if (at_ == end_) throw std::runtime_error("exchange buffer exhausted");
  return *at_++;
}

Tag Reader::peek() const {
  if (at_ == end_) throw std::runtime_error("exchange buffer exhausted");
  return static_cast<Tag>(static_cast<int>(*at_));
}

size_t Reader::count() {
  const double n = next();
  if (!(n >= 0 && n <= static_cast<double>(end_ - at_))) throw std::runtime_error("malformed list");
  return static_cast<size_t>(n);
}

uint32_t Addon::put(at::Tensor tensor) {
  live_++;
  if (free_.empty()) {
    slots_.push_back(std::move(tensor));
    return static_cast<uint32_t>(slots_.size());
  }
  const uint32_t handle = free_.back();
  free_.pop_back();
  slots_[handle - 1] = std::move(tensor);
  return handle;
}

const at::Tensor& Addon::get(double handle) const {
  if (!(handle >= 1 && handle <= static_cast<double>(slots_.size())))
    throw std::runtime_error("no such tensor handle (disposed?)");
  const at::Tensor& tensor = slots_[static_cast<size_t>(handle) - 1];
  if (!tensor.defined()) throw std::runtime_error("the tensor was disposed");
  return tensor;
}

void Addon::release(double handle) {
  get(handle);
  slots_[static_cast<size_t>(handle) - 1].reset();
  free_.push_back(static_cast<uint32_t>(handle));
  live_--;
}

uint32_t Addon::intern(std::string text) {
  texts_.push_back(std::move(text));
  return static_cast<uint32_t>(texts_.size() - 1);
}

const std::string& Addon::text(double index) const {
  if (!(index >= 0 && index < static_cast<double>(texts_.size())))
    throw std::runtime_error("no such interned string");
  return texts_[static_cast<size_t>(index)];
}

void Addon::bind(Napi::Env env, Napi::Float64Array buffer) {
  buffer_ = Napi::Reference<Napi::Float64Array>::New(buffer, 1);
  data_ = buffer.Data();
  size_ = buffer.ElementLength();
}

void Addon::compute(double part) {
  const Napi::Env env = compute_.Env();
  Napi::HandleScope scope(env);
  compute_.Call({Napi::Number::New(env, part)});
}

std::string plain_message(const std::exception& error) {
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error))
    return torch_error->what_without_backtrace();
  return error.what();
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon());
  init_runtime(exports);
  init_dispatch(exports);
  init_autograd(exports);
  init_recompute(exports);
  init_storage(exports);
  return exports;
}

}  // namespace graft

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return graft::init(env, exports); }
NODE_API_MODULE(kernels, InitAddon)
