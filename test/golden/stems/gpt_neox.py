"""GPT-NeoX as in Pythia (parallel residual, a quarter of each head rotated) and as in RedPajama-INCITE."""

import json
import pathlib

import torch
from families import rope
from safetensors.torch import load_file, save_file
from stem import Family
from transformers import GPTNeoXConfig

SHAPE = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=64,
    vocab_size=90,
    bos_token_id=0,
    eos_token_id=2,
)


def as_published(folder: pathlib.Path) -> None:
    """Converts to older files on the Hub: rotary_pct and rotary_emb_base in config.json, and unused buffers."""
    config = json.loads((folder / "config.json").read_text())
    rotary = config.pop("rope_parameters")
    config |= {"rotary_pct": rotary["partial_rotary_factor"], "rotary_emb_base": int(rotary["rope_theta"])}
    del config["attention_bias"]
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = load_file(folder / "model.safetensors")
    head, positions = config["hidden_size"] // config["num_attention_heads"], config["max_position_embeddings"]
    for layer in range(config["num_hidden_layers"]):
        path = f"gpt_neox.layers.{layer}.attention"
        tensors[f"{path}.bias"] = torch.ones(positions, positions, dtype=torch.bool).tril()[None, None]
        tensors[f"{path}.masked_bias"] = torch.tensor(-1e9)
        tensors[f"{path}.rotary_emb.inv_freq"] = rotary["rope_theta"] ** (-torch.arange(0, head, 2) / head)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


FAMILIES = {
    "gpt_neox": Family(
        lambda: GPTNeoXConfig(**SHAPE, rope_parameters=rope(10000.0, partial_rotary_factor=0.25)),
        cases=(
            *("none", "prompt", "p-tuning-mlp", "prefix", "lora", "lora-all-linear", "lora-bias-all"),
            *("ia3", "loha", "full"),
        ),
    ),
    "gpt_neox-sequential": Family(
        lambda: GPTNeoXConfig(
            **SHAPE, use_parallel_residual=False, rope_parameters=rope(10000.0, partial_rotary_factor=1.0)
        ),
        cases=("none", "prefix", "lora", "full"),
        convert=as_published,
    ),
    "gpt_neox-tied": Family(
        lambda: GPTNeoXConfig(
            **SHAPE,
            attention_bias=False,
            tie_word_embeddings=True,
            hidden_act="gelu_new",
            rope_parameters=rope(500.0, partial_rotary_factor=0.5),
        ),
        cases=("none", "lora-all-linear", "full"),
    ),
}
