"""bitsandbytes' NF4 on its CPU path: single matrices, and tiny llamas as Transformers saves them.

For each matrix, nf4/matrices.safetensors has `<name>.source`, and under `<name>.plain.` and `<name>.double.` (without
and with double quantization) the tensors of a file (`weight`, `weight.absmax`, ...) and `dequantized`.
"""

import pathlib
import shutil
import tempfile

import bitsandbytes
import torch
from families import SHAPE, generator, rope
from safetensors.torch import save_file
from stem import Family
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

# Otherwise bitsandbytes would compile its fallback for rows of odd length once per shape.
torch._dynamo.config.disable = True

# Shape, dtype, block size and storage dtype by name.
MATRICES = {
    "whole": ((24, 80), torch.float32, 64, torch.uint8),
    "tail": ((20, 40), torch.float32, 64, torch.uint8),
    "tail-bf16": ((20, 40), torch.bfloat16, 64, torch.uint8),
    "tail-f16": ((20, 40), torch.float16, 64, torch.uint8),
    # 63 and 65 values: the last byte is half used, and the last block has one value.
    "odd": ((7, 9), torch.float32, 64, torch.uint8),
    "one-more": ((5, 13), torch.float32, 64, torch.uint8),
    # 265 blocks: their maxima fill a block of 256 and start another.
    "many-blocks": ((130, 130), torch.bfloat16, 64, torch.uint8),
    "wide-blocks": ((24, 80), torch.float32, 128, torch.uint8),
    # A block and a tail of zeros, a block of one value, and values in the middle between two codes.
    "edges": ((4, 50), torch.float32, 64, torch.uint8),
    # FSDP requires this for 4-bit bases: the bytes viewed as bf16.
    "stored-bf16": ((20, 40), torch.bfloat16, 64, torch.bfloat16),
}


def edges() -> torch.Tensor:
    code = bitsandbytes.functional.get_4bit_type("nf4", device="cpu")
    values = torch.zeros(200)
    values[64:128] = -0.75
    # The maximum of their block is 1, so each value is compared with the midpoints unchanged.
    values[128:144] = code
    values[144:159] = (code[:-1] + code[1:]) / 2
    return values


def source(name: str) -> torch.Tensor:
    shape, dtype, _, _ = MATRICES[name]
    values = edges() if name == "edges" else 0.3 * torch.randn(shape, generator=generator("nf4", name))
    return values.reshape(shape).to(dtype)


def dequantized(weight: bitsandbytes.nn.Params4bit) -> torch.Tensor:
    """code[index] · absmax of its block, rounded once.

    bitsandbytes 0.50.2 is wrong on processors with AVX-512 if the row length is a multiple of 16 but not of the block:
    it
    uses another block's absmax. In all other cases it must agree.
    """
    state, shape = weight.quant_state, weight.quant_state.shape
    absmax = state.absmax
    if state.nested:
        absmax = bitsandbytes.functional.dequantize_blockwise(absmax, state.state2) + state.offset
    indices = torch.stack([weight.data.view(torch.uint8) >> 4, weight.data.view(torch.uint8) & 15], -1).flatten()
    values = state.code[indices.long()][: shape.numel()] * absmax.repeat_interleave(state.blocksize)[: shape.numel()]
    values = values.reshape(shape).to(state.dtype)
    if shape[1] % 16 != 0 or shape[1] % state.blocksize == 0:
        assert torch.equal(values, bitsandbytes.functional.dequantize_4bit(weight.data, state))
    return values


def write_matrices() -> None:
    tensors = {}
    for name, (shape, dtype, block, storage) in MATRICES.items():
        tensors[f"{name}.source"] = source(name)
        for kind, double in (("plain", False), ("double", True)):
            linear = bitsandbytes.nn.Linear4bit(
                shape[1], shape[0], bias=False, compress_statistics=double, quant_type="nf4", quant_storage=storage
            )
            weight = bitsandbytes.nn.Params4bit(
                source(name),
                requires_grad=False,
                blocksize=block,
                compress_statistics=double,
                quant_type="nf4",
                quant_storage=storage,
                module=linear,
            )
            linear.weight = weight.to("cpu")
            stored = {f"{name}.{kind}.{key}": tensor for key, tensor in linear.state_dict().items()}
            tensors |= stored | {f"{name}.{kind}.dequantized": dequantized(linear.weight)}
    folder = pathlib.Path(__file__).resolve().parents[1] / "nf4"
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, folder / "matrices.safetensors")


def quantized(double: bool):
    """Returns a function that replaces an f32 folder by what save_pretrained writes after loading with load_in_4bit.
    """

    def convert(folder: pathlib.Path) -> None:
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=torch.float32,
        )
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=settings, device_map="cpu")
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            shutil.rmtree(folder)
            folder.mkdir()
            for name in ("config.json", "model.safetensors"):
                shutil.copyfile(pathlib.Path(saved, name), folder / name)

    return convert


# 40 x 40, 20 x 40, 52 x 40: the last block is incomplete, and rows are not multiples of the block (nor of 16, see
# above).
ODD = {**SHAPE, "hidden_size": 40, "intermediate_size": 52}


def llama() -> LlamaConfig:
    return LlamaConfig(**ODD, rms_norm_eps=1e-5, rope_parameters=rope(10000.0))


FAMILIES = {
    "llama-nf4": Family(llama, cases=("none", "lora", "prompt"), merges=False, convert=quantized(double=True)),
    "llama-nf4-plain": Family(llama, cases=("none", "lora-all-linear"), merges=False, convert=quantized(double=False)),
}

FILES = {"nf4-matrices": write_matrices}
