"""Graft's normal random numbers, as in libs/kernels/native/ops/philox.h and random.cpp, so that PEFT can draw the same
ones.
"""

import math

import numpy
import torch

MULTIPLIERS = numpy.array([0xD2511F53, 0xCD9E8D57], dtype=numpy.uint64)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = numpy.uint64(0xFFFFFFFF)
HALF = numpy.uint64(32)


def words(seed: int, step: int, site: int, first: int, count: int) -> numpy.ndarray:
    """Words of `count` blocks from block `first`, four per block."""
    index = numpy.arange(first, first + count, dtype=numpy.uint64)
    c0, c1 = index & LOW, (index >> HALF) | numpy.uint64((step >> 32) << 16)
    c2, c3 = numpy.full(count, step & 0xFFFFFFFF, dtype=numpy.uint64), numpy.full(count, site, dtype=numpy.uint64)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ numpy.uint64(k0), p1 & LOW, (p0 >> HALF) ^ c3 ^ numpy.uint64(k1), p0 & LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return numpy.stack([c0, c1, c2, c3], 1).ravel()


def normal(shape: tuple[int, ...], *, seed: int, step: int, site: int, offset: int) -> torch.Tensor:
    size = math.prod(shape)
    first, last = offset // 4, (offset + size + 3) // 4
    drawn = ((words(seed, step, site, first, last - first + 1) >> numpy.uint64(8)) + numpy.uint64(1)) * 2.0**-24
    radius, angle = numpy.sqrt(-2 * numpy.log(drawn[0::2])), 2 * numpy.pi * drawn[1::2]
    pairs = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], 1).ravel()
    from_first = offset - 4 * first
    return torch.from_numpy(pairs[from_first : from_first + size].astype(numpy.float32)).reshape(shape)
