"""bitsandbytes' FP4 on its CPU path: fp4/matrices.safetensors, with the layout of nf4.py."""

import pathlib

import bitsandbytes
import torch
from families import generator
from safetensors.torch import save_file

# Otherwise bitsandbytes would compile its fallback for rows of odd length once per shape.
torch._dynamo.config.disable = True

# Shape and dtype by name. 63 values end with half a byte.
MATRICES = {
    "whole": ((24, 128), torch.float32),
    "bf16": ((130, 192), torch.bfloat16),
    "odd": ((7, 9), torch.float32),
    "edges": ((4, 64), torch.float32),
}


def source(name: str) -> torch.Tensor:
    shape, dtype = MATRICES[name]
    if name != "edges":
        return (0.3 * torch.randn(shape, generator=generator("fp4", name))).to(dtype)
    # a block of zeros, a block of one value, and a block of values in the middle between two codes, with zeros of both
    # signs
    code = bitsandbytes.functional.get_4bit_type("fp4", device="cpu").sort().values
    values = torch.zeros(shape)
    values[1] = -0.75
    values[2, :16] = code
    values[2, 16:31] = (code[:-1] + code[1:]) / 2
    values[2, 31] = -0.0
    values[3] = torch.linspace(-1, 1, 64)
    return values


def write_matrices() -> None:
    tensors = {}
    for name, (shape, dtype) in MATRICES.items():
        tensors[f"{name}.source"] = source(name)
        for kind, double in (("plain", False), ("double", True)):
            linear = bitsandbytes.nn.Linear4bit(shape[1], shape[0], bias=False, compress_statistics=double, quant_type="fp4")
            weight = bitsandbytes.nn.Params4bit(
                source(name), requires_grad=False, compress_statistics=double, quant_type="fp4", module=linear
            )
            linear.weight = weight.to("cpu")
            path = f"{name}.{kind}"
            tensors |= {f"{path}.{key}": tensor for key, tensor in linear.state_dict().items()}
            tensors[f"{path}.dequantized"] = bitsandbytes.functional.dequantize_4bit(
                linear.weight.data, linear.weight.quant_state
            )
    folder = pathlib.Path(__file__).resolve().parents[1] / "fp4"
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, folder / "matrices.safetensors")


FILES = {"fp4-matrices": write_matrices}
