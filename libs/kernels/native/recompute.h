// What the backward pass must do where it may have parts of the forward computed once more.
#pragma once

#include "addon.h"

namespace graft {

// A device's nodes run in this thread instead of one of their own while it lives, if there are such parts: they may call
// JavaScript.
class InThisThread {
 public:
  InThisThread();
  ~InThisThread();

 private:
  const bool before_;
};

}  // namespace graft
