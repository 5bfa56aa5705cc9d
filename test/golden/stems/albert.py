"""ALBERT: two groups of layers that are applied more than once; embeddings smaller than the hidden size."""

import pathlib

from safetensors.torch import load_file, save_file
from stem import Case, Family, load
from transformers import AlbertConfig

seq_cls = load("seq_cls")
token_cls = load("token_cls")
question_ans = load("question_ans")
feature_extraction = load("feature_extraction")


def convert(folder: pathlib.Path) -> None:
    """Scales attention and feed-forward outputs down. They would outweigh the residual after repeated layers, and
    gradients would vanish.
    """
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith(("attention.dense.weight", "ffn_output.weight")):
            tensors[name] *= 0.3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


FAMILIES = {
    "albert": Family(
        lambda: AlbertConfig(
            vocab_size=90,
            embedding_size=12,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_hidden_groups=2,
            inner_group_num=1,
            num_attention_heads=3,
            max_position_embeddings=48,
            type_vocab_size=2,
            classifier_dropout_prob=0.0,
        ),
        cases=(),
        task="seq_cls",
        bf16=True,
        learning_rate=5e-3,
        convert=convert,
    ),
}


def lora(**more):
    """LoRA config with targets, because PEFT has no default ones for ALBERT."""
    return seq_cls.lora(**{"target_modules": ["query", "value"], **more})


CASES = {
    "cls-lora-shared": seq_cls.labelled(lora, families=("albert",), merges=True, bf16=True),
    # Also the embedding projection, the feed-forward layers and the pooler.
    "cls-lora-shared-all": seq_cls.labelled(lambda: lora(target_modules="all-linear", use_dora=True), families=("albert",), merges=True),
    "tag-lora-shared": Case(
        lambda family: lora(target_modules=["ffn", "dense"]),
        families=("albert",),
        task="token_cls",
        options={"labels": token_cls.NAMES},
    ),
    "span-lora-shared": Case(
        lambda family: lora(), families=("albert",), task="question_ans", options=question_ans.OPTIONS
    ),
    "embed-lora-shared": feature_extraction.vectors(lora, families=("albert",)),
}
