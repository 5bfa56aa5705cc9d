// Cross-entropy: one block per row, which reads the row twice and overwrites it with its gradient. Formulas:
// native/ops/loss.cpp.
#include "kernels.h"

#include "device.h"

namespace graft::cuda {
namespace {

constexpr int kThreads = 512;

template <typename T>
__global__ void loss_rows(T* logits, const int64_t* labels, const float* scales, float* losses, bool* right,
                          int64_t classes) {
  const int64_t row = blockIdx.x, label = labels[row];
  logits += row * classes;
  if (label < 0 || label >= classes) {
    if (threadIdx.x == 0) {
      losses[row] = NAN;
      right[row] = false;
    }
    return;
  }
  float* scratch = shared_memory<float>();
  float most = -INFINITY, total = 0;
  for (int64_t c = threadIdx.x; c < classes; c += blockDim.x) most = fmaxf(most, wide(logits[c]));
  most = over_block<Largest>(most, scratch);
  for (int64_t c = threadIdx.x; c < classes; c += blockDim.x) total += expf(wide(logits[c]) - most);
  const float lse = most + logf(over_block<Sum>(total, scratch)), wanted = wide(logits[label]);
  if (threadIdx.x == 0) {
    losses[row] = lse - wanted;
    right[row] = wanted >= most;
  }
  if (!scales) return;
  const float scale = scales[row];
  __syncthreads();  // all threads have read the label's logit
  for (int64_t c = threadIdx.x; c < classes; c += blockDim.x) {
    const float p = expf(wide(logits[c]) - lse);
    logits[c] = narrow<T>((c == label ? p - 1.0f : p) * scale);
  }
}

}  // namespace

template <typename T>
void cross_entropy(T* logits, const int64_t* labels, const float* scales, float* losses, bool* right, int64_t rows,
                   int64_t classes, Stream stream) {
  if (rows == 0) return;
  launch(loss_rows<T>, blocks(rows, 1), kThreads, kThreads / 32 * sizeof(float), stream, logits, labels, scales, losses,
         right, classes);
}

#define GRAFT_KIND(T) \
  template void cross_entropy<T>(T*, const int64_t*, const float*, float*, bool*, int64_t, int64_t, Stream);
GRAFT_EACH_KIND(GRAFT_KIND)

}  // namespace graft::cuda
