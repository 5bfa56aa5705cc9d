// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
//
//   block(key = (seed lo, seed hi), counter = (index lo, index hi + 2^16 step hi, step lo, site)) -> 4 words
//   element e takes word e mod 4 of block floor(e / 4)
//
// Block indices have 48 bits, so the upper half of that word holds the upper 16 bits of 48-bit steps.
//
// A value is a pure function of (seed, step, site, e). There is no generator state, so any slice of a tensor can be
// computed alone, on any number of threads, and again after a resume. src/random.spec.ts has the same in TypeScript.
#pragma once

#include <cstdint>

namespace graft {

constexpr int64_t kSteps = int64_t{1} << 48, kElements = int64_t{1} << 50;

struct PhiloxKey {
  uint64_t seed;
  uint64_t step;  // below kSteps
  uint32_t site;
};

constexpr int kLanes = 16;  // blocks computed together, so that the compiler can keep them in vectors

// words[4 * l + w] for blocks first .. first + kLanes - 1
inline __attribute__((always_inline)) void philox_lanes(const PhiloxKey& key, uint64_t first, uint32_t* words) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int l = 0; l < kLanes; l++) {
    const uint64_t index = first + static_cast<uint64_t>(l);
    c0[l] = static_cast<uint32_t>(index);
    c1[l] = static_cast<uint32_t>(index >> 32) | static_cast<uint32_t>(key.step >> 32) << 16;
    c2[l] = static_cast<uint32_t>(key.step);
    c3[l] = key.site;
  }
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; round++) {
    for (int l = 0; l < kLanes; l++) {
      const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0[l];
      const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2[l];
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c0[l] = n0;
      c1[l] = static_cast<uint32_t>(p1);
      c2[l] = n2;
      c3[l] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int l = 0; l < kLanes; l++) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

constexpr int64_t kGroup = 4 * kLanes;  // elements per call of philox_lanes

// 24 bits, in [0, 1)
inline float unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

}  // namespace graft
