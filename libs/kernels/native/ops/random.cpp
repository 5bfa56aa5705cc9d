// Operators for counter-based random numbers.  e = offset + i is the element's index.
//
//   graft::uniform   y_e = (word_e >> 8) 2^-24                                     in [0, 1)
//   graft::normal    Box-Muller on words (2j, 2j+1): u = ((word >> 8) + 1) 2^-24 in (0, 1]
//                    y_2j   = sqrt(-2 ln u_2j) cos(2 pi u_2j+1)
//                    y_2j+1 = sqrt(-2 ln u_2j) sin(2 pi u_2j+1)
//   graft::dropout   y_e = x_e m_e / (1 - p),  m_e = [uniform_e >= p]
//                    dropout is linear in x with a fixed mask, so its gradient is dropout of the gradient
#include "philox.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <type_traits>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GRAFT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GRAFT_CLONES
#endif

namespace graft::random {
namespace {

GRAFT_CLONES void philox_words(const PhiloxKey& key, uint64_t first, uint32_t* words) {
  philox_lanes(key, first, words);
}

PhiloxKey make_key(int64_t seed, int64_t step, int64_t site) {
  TORCH_CHECK(step >= 0 && step < kSteps, "step must be in [0, 2^48), got ", step);
  TORCH_CHECK(site >= 0 && site <= UINT32_MAX, "site must be in [0, 2^32), got ", site);
  return {static_cast<uint64_t>(seed), static_cast<uint64_t>(step), static_cast<uint32_t>(site)};
}

// Calls body(i, words, from, to), where output i + (l - from) uses words[l] for l in [from, to). Groups are aligned to
// the element index, not to the slice, so a slice uses the same words as the whole.
template <typename Body>
void for_each_group(const PhiloxKey& key, int64_t offset, int64_t n, const Body& body) {
  TORCH_CHECK(offset >= 0, "offset must not be negative, got ", offset);
  TORCH_CHECK(offset <= kElements - n, "elements end at 2^50, got ", n, " from ", offset);
  if (n == 0) return;
  const int64_t first = offset / kGroup, last = (offset + n - 1) / kGroup;
  at::parallel_for(first, last + 1, 512, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kGroup];
    for (int64_t group = begin; group < end; group++) {
      philox_words(key, static_cast<uint64_t>(group) * kLanes, words);
      const int64_t from = std::max<int64_t>(0, offset - group * kGroup);
      const int64_t to = std::min<int64_t>(kGroup, offset + n - group * kGroup);
      body(group * kGroup + from - offset, words, from, to);
    }
  });
}

at::Tensor uniform(c10::IntArrayRef shape, int64_t seed, int64_t step, int64_t site, int64_t offset) {
  at::Tensor out = at::empty(shape, at::kFloat);
  float* y = out.mutable_data_ptr<float>();
  for_each_group(make_key(seed, step, site), offset, out.numel(),
                 [y](int64_t i, const uint32_t* words, int64_t from, int64_t to) {
                   for (int64_t l = from; l < to; l++) y[i++] = unit(words[l]);
                 });
  return out;
}

at::Tensor normal(c10::IntArrayRef shape, int64_t seed, int64_t step, int64_t site, int64_t offset) {
  at::Tensor out = at::empty(shape, at::kFloat);
  float* y = out.mutable_data_ptr<float>();
  for_each_group(make_key(seed, step, site), offset, out.numel(),
                 [y](int64_t i, const uint32_t* words, int64_t from, int64_t to) {
                   for (int64_t l = from; l < to; l++) {
                     const uint32_t* pair = words + (l & ~int64_t{1});
                     const double radius = std::sqrt(-2.0 * std::log(((pair[0] >> 8) + 1) * 0x1p-24));
                     const double angle = 2.0 * M_PI * (((pair[1] >> 8) + 1) * 0x1p-24);
                     y[i++] = static_cast<float>(radius * ((l & 1) ? std::sin(angle) : std::cos(angle)));
                   }
                 });
  return out;
}

// Computes in double for double, otherwise in float.
template <typename T>
GRAFT_CLONES void drop(const T* x, T* y, const uint32_t* words, int64_t n, uint32_t threshold, double scale) {
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const Wide factor = static_cast<Wide>(scale);
  for (int64_t l = 0; l < n; l++) {
    const Wide scaled = static_cast<Wide>(x[l]) * factor;
    y[l] = static_cast<T>((words[l] >> 8) >= threshold ? scaled : Wide(0));
  }
}

at::Tensor dropout_cpu(const at::Tensor& x, double p, int64_t seed, int64_t step, int64_t site, int64_t row_offset) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability must be in [0, 1], got ", p);
  TORCH_CHECK(x.dim() >= 1, "dropout wants at least one dimension");
  const at::Tensor input = x.contiguous();
  at::Tensor out = at::empty_like(input);
  // uniform >= p  <=>  (word >> 8) >= ceil(p 2^24)
  const auto threshold = static_cast<uint32_t>(std::ceil(p * 0x1p24));
  const double scale = p < 1 ? 1.0 / (1.0 - p) : 0.0;
  const PhiloxKey key = make_key(seed, step, site);
  const int64_t offset = row_offset * x.size(-1);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, input.scalar_type(), "graft::dropout", [&] {
    const scalar_t* from_data = input.const_data_ptr<scalar_t>();
    scalar_t* to_data = out.mutable_data_ptr<scalar_t>();
    for_each_group(key, offset, input.numel(), [&](int64_t i, const uint32_t* words, int64_t from, int64_t to) {
      drop<scalar_t>(from_data + i, to_data + i, words + from, to - from, threshold, scale);
    });
  });
  return out;
}

at::Tensor call_dropout(const at::Tensor& x, double p, int64_t seed, int64_t step, int64_t site, int64_t row_offset) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("graft::dropout", "")
                       .typed<at::Tensor(const at::Tensor&, double, int64_t, int64_t, int64_t, int64_t)>();
  return op.call(x, p, seed, step, site, row_offset);
}

struct Dropout : torch::autograd::Function<Dropout> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, double p, int64_t seed,
                            int64_t step, int64_t site, int64_t row_offset) {
    at::AutoDispatchBelowAutograd below;
    context->saved_data["p"] = p;
    context->saved_data["seed"] = seed;
    context->saved_data["step"] = step;
    context->saved_data["site"] = site;
    context->saved_data["row_offset"] = row_offset;
    return call_dropout(x, p, seed, step, site, row_offset);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    auto& saved = context->saved_data;
    at::Tensor dx = call_dropout(gradients[0], saved["p"].toDouble(), saved["seed"].toInt(), saved["step"].toInt(),
                                 saved["site"].toInt(), saved["row_offset"].toInt());
    return {dx, {}, {}, {}, {}, {}};
  }
};

at::Tensor dropout_autograd(const at::Tensor& x, double p, int64_t seed, int64_t step, int64_t site,
                            int64_t row_offset) {
  return Dropout::apply(x, p, seed, step, site, row_offset);
}

}  // namespace
}  // namespace graft::random

TORCH_LIBRARY(graft, m) {
  m.def("uniform(int[] shape, int seed, int step, int site, int offset) -> Tensor", graft::random::uniform);
  m.def("normal(int[] shape, int seed, int step, int site, int offset) -> Tensor", graft::random::normal);
  m.def("dropout(Tensor x, float p, int seed, int step, int site, int row_offset) -> Tensor");
}

TORCH_LIBRARY_IMPL(graft, CPU, m) { m.impl("dropout", graft::random::dropout_cpu); }
TORCH_LIBRARY_IMPL(graft, Autograd, m) { m.impl("dropout", graft::random::dropout_autograd); }
