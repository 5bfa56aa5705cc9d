// An operator with an implementation per device, looked up once. Code for all devices calls it through this.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

namespace graft {

// Whether autograd may record an operation. A node takes as long as the norm of one row.
inline bool is_recording() { return c10::GradMode::is_enabled(); }

template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace graft
