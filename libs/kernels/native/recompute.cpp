// Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174; docs/adr/0026). Within a part, tensors that autograd
// would save are counted and dropped. When the backward pass first needs one, JavaScript recomputes the part, and the
// tensors saved then replace the dropped ones in the same order. The graph is that of the forward pass, so gradients
// are summed as usual.
#include "recompute.h"

#include <c10/core/AutogradState.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <stdexcept>

namespace graft {
namespace {

using torch::autograd::Engine;
using torch::autograd::SavedVariableHooks;

struct Kind {
  std::vector<int64_t> sizes;
  at::ScalarType dtype;
  bool operator==(const Kind& other) const { return dtype == other.dtype && sizes == other.sizes; }
};

thread_local size_t parts = 0;

struct Part {
  Part(Addon& addon, double number) : addon(addon), number(number) { parts++; }
  ~Part() { parts--; }

  Addon& addon;
  const double number;             // the part's number in JavaScript
  std::vector<Kind> let_go;
  std::vector<at::Tensor> again;   // recomputed tensors, each until its node is done
  bool is_computed = false;
  // restores dispatch keys: operators read saved tensors while autograd is disabled
  const c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
};

struct Recording {
  std::shared_ptr<Part> part;  // null means that everything is saved
  bool again;
};
thread_local std::vector<Recording> recordings;  // innermost last

struct Within {
  explicit Within(Recording recording) { recordings.push_back(std::move(recording)); }
  ~Within() { recordings.pop_back(); }
};

[[noreturn]] void refuse() { throw std::runtime_error("a part of the forward pass gave another result when it was recomputed"); }

void compute(const std::shared_ptr<Part>& part) {
  part->is_computed = true;
  part->again.reserve(part->let_go.size());
  Within within({part, true});
  c10::impl::ForceDispatchKeyGuard keys(part->keys);
  part->addon.compute(part->number);
  if (part->again.size() != part->let_go.size()) refuse();
}

struct Saved : SavedVariableHooks {
  explicit Saved(Recording recording) : recording_(std::move(recording)) {}

  ~Saved() override {
    if (!recording_.again && index_ < part().again.size()) part().again[index_].reset();
  }

  void call_pack_hook(const at::Tensor& tensor) override {
    auto& let_go = part().let_go;
    auto& again = part().again;
    Kind kind{tensor.sizes().vec(), tensor.scalar_type()};
    index_ = recording_.again ? again.size() : let_go.size();
    if (!recording_.again) {
      let_go.push_back(std::move(kind));
    } else {
      if (index_ >= let_go.size() || !(let_go[index_] == kind)) refuse();
      again.push_back(tensor.detach());
    }
  }

  at::Tensor call_unpack_hook() override {
    if (!part().is_computed) compute(recording_.part);
    return part().again.at(index_);
  }

 private:
  Part& part() const { return *recording_.part; }

  const Recording recording_;
  size_t index_ = 0;
};

// libtorch's engine with other handling of saved tensors.
class SavingEngine : public Engine {
 public:
  explicit SavingEngine(Engine& before) : before_(before) {}

  std::unique_ptr<SavedVariableHooks> get_default_saved_variable_hooks() override {
    if (recordings.empty()) return before_.get_default_saved_variable_hooks();
    return recordings.back().part ? std::make_unique<Saved>(recordings.back()) : nullptr;
  }

  static Engine& get() {
    static Engine& engine = *new SavingEngine(Engine::get_default_engine());  // never deleted, like libtorch's own
    return engine;
  }

 private:
  Engine& before_;
};

void use_engine() {
  static const bool done = [] {
    SavingEngine::get();
    torch::autograd::set_default_engine_stub(SavingEngine::get);
    return true;
  }();
  (void)done;
}

// onCompute((number) => void): sets the callback that recomputes a part
Napi::Value on_compute(const Napi::CallbackInfo& info) {
  addon(info).on_compute(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

// beginPart(number): until endPart, tensors are dropped; without a number they are saved, even inside a part
Napi::Value begin_part(const Napi::CallbackInfo& info) {
  use_engine();
  const bool is_part = info[0].IsNumber();
  auto part = is_part ? std::make_shared<Part>(addon(info), info[0].As<Napi::Number>().DoubleValue()) : nullptr;
  recordings.push_back({std::move(part), false});
  return info.Env().Undefined();
}

Napi::Value end_part(const Napi::CallbackInfo& info) {
  if (recordings.empty()) throw std::runtime_error("no part has begun");
  recordings.pop_back();
  return info.Env().Undefined();
}

}  // namespace

InThisThread::InThisThread() : before_(c10::AutogradState::get_tls_state().get_multithreading_enabled()) {
  if (parts > 0) c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

InThisThread::~InThisThread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(before_); }

void init_recompute(Napi::Object& exports) {
  define<on_compute>(exports, "onCompute");
  define<begin_part>(exports, "beginPart");
  define<end_part>(exports, "endPart");
}

}  // namespace graft
