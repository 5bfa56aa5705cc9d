// What the backward pass must do if parts of the forward pass may be recomputed.
#pragma once

#include "addon.h"

namespace graft {

// If there are such parts, runs a device's nodes in this thread during its lifetime, because they may call JavaScript.
class InThisThread {
 public:
  InThisThread();
  ~InThisThread();

 private:
  const bool before_;
};

}  // namespace graft
