"""Phi-3 with a sliding window, and as Phi-4-mini: partial rotation with LongRoPE factors, and a tied head.

The latter has one base for short and one for long sequences.
"""

import json
import pathlib

import torch
from families import load_base, rope
from stem import Family
from transformers import Phi3Config

SHAPE = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=1,
    vocab_size=90,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)

FAMILIES = {
    "phi3": Family(
        lambda: Phi3Config(
            **SHAPE, sliding_window=6, max_position_embeddings=128, rope_parameters=rope(10000.0, partial_rotary_factor=1.0)
        ),
        cases=("none", "prompt", "prefix", "lora-all-linear", "full"),
    ),
    "phi3-long": Family(
        lambda: Phi3Config(
            **SHAPE,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
            original_max_position_embeddings=128,
            rope_parameters=rope(
                100.0,
                rope_type="longrope",
                partial_rotary_factor=0.75,
                short_factor=[1.0, 1.25, 2.0],
                long_factor=[2.0, 8.0, 16.0],
            ),
        ),
        cases=("none", "prompt"),
    ),
    # every sequence of the batches counts as long
    "phi3-longer": Family(
        lambda: Phi3Config(
            **{**SHAPE, "num_hidden_layers": 1},
            tie_word_embeddings=True,
            max_position_embeddings=64,
            original_max_position_embeddings=4,
            rope_parameters=rope(
                100.0,
                rope_type="longrope",
                partial_rotary_factor=1.0,
                short_factor=[1.0, 1.1, 1.25, 2.0],
                long_factor=[2.0, 3.0, 8.0, 16.0],
            ),
        ),
        cases=("none", "prefix"),
    ),
}


def write_crossing() -> None:
    """Writes what generate returns if sequences become long while it generates: original_max_position_embeddings is 8.
    """
    folder = pathlib.Path(__file__).resolve().parents[1] / "phi3-longer"
    model = load_base(folder / "base", original_max_position_embeddings=8).eval()
    answers = []
    for prompt in ([5, 17, 42], [5, 17, 42, 8, 23, 60, 3, 9], [9, 71, 12, 5, 17, 42, 8, 23, 60, 3]):
        with torch.no_grad():
            written = model.generate(
                torch.tensor([prompt]), max_new_tokens=12, do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0
            )
        tokens = written[0, len(prompt) :].tolist()
        answers.append({"prompt": prompt, "tokens": tokens})
    (folder / "crossing.json").write_text("[\n" + ",\n".join(f" {json.dumps(answer)}" for answer in answers) + "\n]\n")


FILES = {"phi3-crossing": write_crossing}
