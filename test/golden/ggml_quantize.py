"""Writes what ggml quantizes: libs/kernels/src/ops/ggml.golden.json.

    python3 test/golden/ggml_quantize.py PATH/libggml-base.so

The library is llama.cpp's; npm's @node-llama-cpp/linux-x64 contains it in bins/linux-x64.
"""
import base64
import ctypes
import json
import sys
from pathlib import Path

import numpy as np

TYPES = {"Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)}


def rows():
    """Rows of 256 numbers: weight-like values, and values that make the search take other branches."""
    draw = np.random.default_rng(7)
    normal = draw.standard_normal((4, 256)) * [[1], [0.02], [300], [1e-4]]
    outlier = draw.standard_normal(256) * 0.02
    outlier[[3, 77, 200]] = [4.0, -7.5, 1.5]
    positive = np.abs(draw.standard_normal(256))
    sparse = np.where(draw.random(256) < 0.9, 0, draw.standard_normal(256))
    steps = np.round(draw.standard_normal(256) * 4) / 8
    constant = np.repeat([0, 1, -2.5, 1e-20], 64)
    return np.stack([*normal, outlier, positive, sparse, steps, constant, np.zeros(256)]).astype(np.float32)


def quantized(library, values, code, block, size):
    count, columns = values.shape
    out = np.zeros(values.size // block * size, np.uint8)
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    written = library.ggml_quantize_chunk(code, pointer(values), pointer(out), 0, count, columns, None)
    assert written == out.size, (written, out.size)
    return out


def main():
    library = ctypes.CDLL(sys.argv[1])
    values = rows()
    text = lambda array: base64.b64encode(array.tobytes()).decode()
    golden = {
        "made_by": "test/golden/ggml_quantize.py with llama.cpp's libggml-base (node-llama-cpp 3.22.1)",
        "shape": values.shape,
        "f32": text(values),
        "types": {name: text(quantized(library, values, *of)) for name, of in TYPES.items()},
    }
    target = Path(__file__).parents[2] / "libs/kernels/src/ops/ggml.golden.json"
    target.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
