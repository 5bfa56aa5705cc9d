// An operator that each device has a body of, found once: what is written for all devices calls it through this.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

namespace graft {

// Whether autograd may keep something of an operation: a node of its own takes as long as a norm of one row.
inline bool is_recording() { return c10::GradMode::is_enabled(); }

template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace graft
