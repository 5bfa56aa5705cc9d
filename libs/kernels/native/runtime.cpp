// Threads, allocator settings, and build information.
#include "addon.h"

#ifdef GRAFT_CUDA_BODIES
#include "cuda/kernels.h"
#endif

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

// since 2.10, libtorch reports its caching allocator's memory for every device in the same way
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 10
#define GRAFT_DEVICE_MEMORY 1
#include <c10/core/CachingDeviceAllocator.h>
#endif

#include <malloc.h>

#include <climits>

#include <mutex>
#include <stdexcept>

namespace graft {
namespace {

// glibc maps and unmaps every block above 128 kB, so each temporary causes new page faults. Keeping freed blocks
// reduces a 12-layer LoRA step (SmolLM2's sizes, 1,024 tokens, one thread) from 2.59 to 2.16 s of CPU time, its system
// time from 430 to 10 ms, with the same peak (792 MB). Huge pages (THP_MEM_ALLOC_ENABLE) gained nothing and cost 55 MB.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kLargestThreshold = 32 << 20;  // glibc rejects higher values
  mallopt(M_MMAP_THRESHOLD, kLargestThreshold);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

void start_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Training is one synchronous stream: a second pool would only compete for the cores.
    at::set_num_interop_threads(1);
    // Until the number of threads is set, MKL may use fewer on a busy machine, which changes the order of sums.
    at::set_num_threads(at::get_num_threads());
    keep_freed_memory();
  });
}

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  at::set_num_threads(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), at::get_num_threads());
}

// Returns cached memory to the system, for example after a base model was unloaded.
Napi::Value trim(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return info.Env().Undefined();
}

Napi::Value live(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(addon(info).live()));
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0);
}

// device_memory(index) -> [allocated, peak, free, total] in bytes of a CUDA device, or null if libtorch does not report
// it
Napi::Value device_memory(const Napi::CallbackInfo& info) {
#ifdef GRAFT_DEVICE_MEMORY
  const auto index = static_cast<c10::DeviceIndex>(info[0].As<Napi::Number>().Int32Value());
  c10::DeviceAllocator* allocator = at::getDeviceAllocator(at::kCUDA);
  if (!allocator->initialized()) return info.Env().Null();
  const auto held = allocator->getDeviceStats(index).reserved_bytes[0];
  const auto [free, total] = allocator->getMemoryInfo(index);
  const double numbers[] = {static_cast<double>(held.current), static_cast<double>(held.peak),
                            static_cast<double>(free), static_cast<double>(total)};
  Napi::Array out = Napi::Array::New(info.Env());
  for (const double number : numbers) out.Set(out.Length(), number);
  return out;
#else
  return info.Env().Null();
#endif
}

// Value of `key=` in libtorch's description of its build.
std::string configured(const std::string& key) {
  const std::string config = at::show_config();
  const size_t start = config.find(key + "=");
  if (start == std::string::npos) return "unknown";
  const size_t value = start + key.size() + 1;
  return config.substr(value, config.find_first_of(", \n", value) - value);
}

Napi::Value build(const Napi::CallbackInfo& info) {
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("libtorch", TORCH_VERSION);
  out.Set("major", TORCH_VERSION_MAJOR);
  out.Set("minor", TORCH_VERSION_MINOR);
  out.Set("cuda", at::hasCUDA());
#ifdef GRAFT_CUDA_BODIES
  out.Set("cudaBodies", cuda::has_bodies());
#else
  out.Set("cudaBodies", false);
#endif
  out.Set("blas", configured("BLAS_INFO"));
  out.Set("config", at::show_config());
  Napi::Array own = Napi::Array::New(info.Env());
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
    if (name.name.rfind("graft::", 0) == 0) own.Set(own.Length(), c10::toString(name));
  out.Set("ownOps", own);
  return out;
}

}  // namespace

void init_runtime(Napi::Object& exports) {
  start_once();
  define<set_threads>(exports, "setThreads");
  define<threads>(exports, "threads");
  define<trim>(exports, "trim");
  define<live>(exports, "live");
  define<devices>(exports, "devices");
  define<device_memory>(exports, "deviceMemory");
  define<build>(exports, "build");
}

}  // namespace graft
