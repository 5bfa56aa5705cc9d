// A second addon, for tests: use(true) replaces the CPU operators by the emulated CUDA ones, use(false) restores them.
#include <napi.h>

#include <ATen/Version.h>
#include <c10/util/Exception.h>

#include <optional>

#include "../bodies.h"
#include "device.h"
#include "faults.h"

namespace {

// libtorch warns about every replaced kernel
class Quiet : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

std::optional<torch::Library> registered;

Napi::Value use(const Napi::CallbackInfo& info) {
  registered.reset();
  if (!info[0].As<Napi::Boolean>().Value()) return info.Env().Undefined();
  Quiet quiet;
  const c10::WarningUtils::WarningHandlerGuard guard(&quiet);
  registered.emplace(torch::Library::IMPL, "graft", c10::DispatchKey::CPU, __FILE__, __LINE__);
  graft::cuda::add_bodies(*registered);
  return info.Env().Undefined();
}

// Number of kernel launches so far.
Napi::Value launches(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(graft::cuda::emulated::launches()));
}

Napi::Value is_wrong(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), graft::cuda::emulated::is_wrong(info[0].As<Napi::Boolean>().Value()));
}

template <void (*Run)()>
Napi::Value message(const Napi::CallbackInfo& info) {
  try {
    Run();
    return info.Env().Null();
  } catch (const std::exception& error) {
    return Napi::String::New(info.Env(), error.what());
  }
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("use", Napi::Function::New(env, use));
  exports.Set("launches", Napi::Function::New(env, launches));
  exports.Set("isWrong", Napi::Function::New(env, is_wrong));
  exports.Set("halfWaits", Napi::Function::New(env, message<graft::cuda::emulated::run_half_waits>));
  exports.Set("writesPast", Napi::Function::New(env, message<graft::cuda::emulated::run_writes_past>));
  return exports;
}

}  // namespace

NODE_API_MODULE(emulated, init)
