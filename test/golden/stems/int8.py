"""bitsandbytes' 8-bit matrices on its CPU path, in int8/matrices.safetensors.

Each matrix has `<name>.source`; `<name>.weight`, `<name>.SCB` and `<name>.weight_format` as Linear8bitLt saves them;
and `<name>.dequantized`.
"""

import pathlib

import bitsandbytes
import torch
from families import generator
from safetensors.torch import save_file

# Shape and dtype by name.
MATRICES = {
    "whole": ((24, 80), torch.float32),
    "odd": ((7, 9), torch.float32),
    "bf16": ((20, 40), torch.bfloat16),
    "f16": ((20, 40), torch.float16),
    # values in the middle between two numbers, and a row of one value
    "edges": ((3, 255), torch.float32),
}


def source(name: str) -> torch.Tensor:
    shape, dtype = MATRICES[name]
    if name == "edges":
        halves = torch.arange(-127, 128, dtype=torch.float32)
        return torch.stack([halves, halves.clamp(-126.5, 126.5) + 0.5, torch.full((255,), -0.75)])
    return (0.3 * torch.randn(shape, generator=generator("int8", name))).to(dtype)


def write_matrices() -> None:
    tensors = {}
    for name, (shape, _) in MATRICES.items():
        linear = bitsandbytes.nn.Linear8bitLt(shape[1], shape[0], bias=False, has_fp16_weights=False)
        linear.weight = bitsandbytes.nn.Int8Params(source(name).clone(), requires_grad=False, has_fp16_weights=False)
        linear = linear.to("cpu")
        linear(torch.zeros(1, shape[1]))
        stored = linear.state_dict()
        tensors |= {f"{name}.{key}": tensor for key, tensor in stored.items()}
        tensors[f"{name}.source"] = source(name)
        tensors[f"{name}.dequantized"] = torch.ops.bitsandbytes.int8_vectorwise_dequant(stored["weight"], stored["SCB"])
    folder = pathlib.Path(__file__).resolve().parents[1] / "int8"
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, folder / "matrices.safetensors")


FILES = {"int8-matrices": write_matrices}
