"""Writes what llama-quantize makes of examples/tiny-base: libs/peft-core/src/io/gguf/gguf-writer.golden.json.

    python3 test/golden/gguf_quantize.py FOLDER F32.gguf

FOLDER contains llama.cpp's libraries (npm's @node-llama-cpp/linux-x64, bins/linux-x64). F32.gguf is an export of that
base by Graft with quantization "F32". The result has the layout of each tensor and the sha256 of its data.
"""
import ctypes
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

FILE_TYPES = {"Q8_0": 7, "Q4_K_M": 15}


class Params(ctypes.Structure):
    """llama_model_quantize_params: the fields that are set here, and space for the rest."""

    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32), ("rest", ctypes.c_uint8 * 256)]


def main():
    folder, source = Path(sys.argv[1]), sys.argv[2]
    ctypes.CDLL(str(folder / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
    ggml = ctypes.CDLL(str(next(folder.glob("libggml.v*.so"))), mode=ctypes.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    llama = ctypes.CDLL(str(next(folder.glob("libllama.v*.so"))))
    llama.llama_model_quantize_default_params.restype = Params
    llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
    golden = {"made_by": "test/golden/gguf_quantize.py with llama.cpp's libllama (node-llama-cpp 3.22.1)"}
    with tempfile.TemporaryDirectory() as scratch:
        for name, file_type in FILE_TYPES.items():
            params = llama.llama_model_quantize_default_params()
            params.ftype = file_type
            out = str(Path(scratch) / name)
            assert llama.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)) == 0
            golden[name] = {
                tensor.name: [
                    tensor.tensor_type.name,
                    hashlib.sha256(np.ascontiguousarray(tensor.data).tobytes()).hexdigest()[:16],
                ]
                for tensor in gguf.GGUFReader(out).tensors
            }
    target = Path(__file__).parents[2] / "libs/peft-core/src/io/gguf/gguf-writer.golden.json"
    target.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
