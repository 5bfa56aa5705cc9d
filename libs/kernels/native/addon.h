// Shared by the native files: one Addon per JavaScript thread, its table of tensor handles, and the exchange buffer for
// arguments and results.
#pragma once

#include <napi.h>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace graft {

// Exchange buffer: doubles, written and read in order by both sides (src/exchange.ts is the other half).
//   none              0
//   default           1                    the schema's default value
//   tensor in         2, handle
//   number            3, value
//   bool              4, 0 or 1
//   string            5, index of an interned string
//   list              6, n, n items
//   tensor out        7, handle, scalar type, device index (-1 = cpu, -2 = meta), ndim, sizes...
// One exchange costs no Node-API call per argument, which is most of what a call would cost otherwise.
enum Tag : int { kNone, kDefault, kTensor, kNumber, kBool, kString, kList, kTensorOut };

class Reader {
 public:
  Reader(const double* data, size_t size) : at_(data), end_(data + size) {}
  double next();
  Tag tag() { return static_cast<Tag>(static_cast<int>(next())); }
  Tag peek() const;
  size_t count();  // reads a list length and checks it against the remaining size

 private:
  const double* at_;
  const double* end_;
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
};

// State of one JavaScript thread. Nothing here is shared between threads, so nothing is locked.
class Addon {
 public:
  uint32_t put(at::Tensor tensor);         // registers a tensor, returns its handle (> 0)
  const at::Tensor& get(double handle) const;
  void release(double handle);
  size_t live() const { return live_; }

  uint32_t lookup(const std::string& name);
  const Operator& op(uint32_t index) const;
  uint32_t intern(std::string text);
  const std::string& text(double index) const;

  void bind(Napi::Env env, Napi::Float64Array buffer);
  Reader reader() const { return Reader(data_, size_); }
  // Writes results; returns the doubles needed. When that is more than the buffer holds nothing is lost:
  // they wait in pending() until JavaScript has bound a larger buffer and calls flush.
  size_t write(std::vector<c10::IValue> values);
  size_t flush();

  // Callback that recomputes parts of the forward pass in the backward pass (recompute.cpp).
  void on_compute(Napi::Function function) { compute_ = Napi::Persistent(function); }
  void compute(double part);

 private:
  std::vector<at::Tensor> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
  std::vector<Operator> ops_;
  std::unordered_map<std::string, uint32_t> op_index_;
  std::vector<std::string> texts_;
  std::vector<c10::IValue> pending_;
  Napi::Reference<Napi::Float64Array> buffer_;
  Napi::FunctionReference compute_;
  double* data_ = nullptr;
  size_t size_ = 0;
};

inline Addon& addon(const Napi::CallbackInfo& info) { return *info.Env().GetInstanceData<Addon>(); }

// Converts C++ exceptions into JavaScript errors with the plain message. src/errors.ts adds the operator and the
// argument shapes.
std::string plain_message(const std::exception& error);

template <Napi::Value (*Body)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return Body(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), plain_message(error));
  } catch (...) {
    throw Napi::Error::New(info.Env(), "unknown C++ exception");
  }
}

template <Napi::Value (*Body)(const Napi::CallbackInfo&)>
void define(Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New<guarded<Body>>(exports.Env(), name));
}

void init_dispatch(Napi::Object& exports);
void init_autograd(Napi::Object& exports);
void init_recompute(Napi::Object& exports);
void init_storage(Napi::Object& exports);
void init_runtime(Napi::Object& exports);

}  // namespace graft
