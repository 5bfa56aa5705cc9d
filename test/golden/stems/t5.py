"""T5 in its first version (ReLU, tied head), v1.1 and Flan (gated GELU, separate or tied head)."""

import json
import pathlib

import torch
from families import generator
from peft import PrefixTuningConfig
from safetensors.torch import load_file, save_file
from stem import Case, Family
from transformers import T5Config

SHAPE = dict(
    # Few buckets and a small distance, so that sources of 30 tokens reach the logarithmic buckets and the last one.
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    dropout_rate=0.0,
    decoder_start_token_id=0,
)


def rescale(tensors: dict[str, torch.Tensor], query: float, embedding: float, output: float) -> None:
    """Changes the standard deviation of some weights from 0.3. Otherwise attention would pick one key (T5 does not
    divide scores by the root of d_kv), training would amplify rounding, and a continuation would repeat one token.
    """
    for name in tensors:
        if name.endswith(".q.weight"):
            tensors[name] *= query
        if name.startswith("decoder.") and name.endswith(".SelfAttention.o.weight"):
            tensors[name] *= 3
        if name.startswith("decoder.") and name.endswith(".wo.weight"):
            tensors[name] *= output
    tensors["shared.weight"] *= embedding


def first_version(folder: pathlib.Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    rescale(tensors, query=0.5, embedding=1, output=1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def unscaled(folder: pathlib.Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    rescale(tensors, query=0.2, embedding=2, output=2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def flan(folder: pathlib.Path) -> None:
    """Adds a separate head, and writes config.json as on the Hub: untied implies unscaled outputs, which transformers
    5 writes as two fields.
    """
    tensors = load_file(folder / "model.safetensors")
    rescale(tensors, query=0.3, embedding=4, output=2)
    tensors["lm_head.weight"] = 0.3 * torch.randn(
        tensors["shared.weight"].shape, generator=generator("flan-t5", "lm_head.weight")
    )
    # Published files repeat the embedding, and the oldest have a bias that no layer reads.
    for stack in ("encoder", "decoder"):
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"].clone()
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    tensors[unread] = torch.ones(SHAPE["relative_attention_num_buckets"], 3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.pop("scale_decoder_outputs", None)
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


FAMILIES = {
    "t5": Family(
        lambda: T5Config(**SHAPE, d_model=32, d_kv=8, num_heads=4, d_ff=48, num_layers=2, vocab_size=90),
        cases=("none", "prompt", "p-tuning-mlp", "prefix", "prefix-projection", "lora", "ia3", "full"),
        task="seq_2_seq_lm",
        learning_rate=2e-3,
        convert=first_version,
    ),
    # The heads' total width differs from d_model, and the decoder has another depth.
    "flan-t5": Family(
        lambda: T5Config(
            **SHAPE,
            d_model=24,
            d_kv=10,
            num_heads=3,
            d_ff=40,
            num_layers=3,
            num_decoder_layers=2,
            vocab_size=96,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        ),
        cases=("none", "prompt", "prefix-inner", "lora", "full"),
        task="seq_2_seq_lm",
        learning_rate=2e-3,
        convert=flan,
    ),
    # T5 v1.1 as transformers 5 creates it: tied head with unscaled inputs.
    "t5-unscaled": Family(
        lambda: T5Config(
            **SHAPE,
            d_model=24,
            d_kv=8,
            num_heads=3,
            d_ff=40,
            num_layers=2,
            vocab_size=96,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        ),
        cases=("none", "lora", "full"),
        task="seq_2_seq_lm",
        learning_rate=2e-3,
        convert=unscaled,
    ),
}

CASES = {
    # PEFT assumes d_model as the width of all heads together; otherwise token_dim must be set.
    "prefix-inner": Case(
        lambda family: PrefixTuningConfig(num_virtual_tokens=4, token_dim=30, num_attention_heads=3), greedy=True
    ),
}
