// An operator that each device has a body of, found once: what is written for all devices calls it through this.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace graft {

template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace graft
