"""Writes tiny random bases of models derived from LLaMA and RoBERTa, with Transformers' outputs.

    python3 test/parity/derivatives.py --out DIR

For each case, DIR/<name>/ has config.json, model.safetensors and rows.out. The latter contains `tokens` [T] and `rows`:
logits [T, V], or for encoders hidden states [T, D].
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from environment import enter

enter()

import torch
from families import ENCODERS, SHAPE, rope, write_base
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

LLAMA3 = rope(
    10000.0,
    rope_type="llama3",
    factor=16.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)

CASES = {
    "seed_oss": dict(model_type="seed_oss", head_dim=12, attention_bias=True, attention_out_bias=False),
    "seed_oss-biased": dict(
        model_type="seed_oss", head_dim=12, attention_bias=False, attention_out_bias=True, mlp_bias=True
    ),
    "iquestcoder": dict(model_type="iquestcoder", head_dim=12, attention_bias=True, mlp_bias=True),
    "cwm": dict(model_type="cwm", head_dim=8, sliding_window=5, num_hidden_layers=5, rope_parameters=LLAMA3),
    "camembert": dict(model_type="camembert", pad_token_id=1, type_vocab_size=1, hidden_act="gelu"),
    # Every other layer has full attention.
    "cwm-typed": dict(
        model_type="cwm",
        head_dim=8,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters=LLAMA3,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    tokens = torch.randint(3, SHAPE["vocab_size"], (24,), generator=torch.Generator().manual_seed(0))
    for name, fields in CASES.items():
        own = {"rope_parameters": rope(1000.0), **SHAPE, **fields}
        write_base(name, AutoConfig.for_model(own.pop("model_type"), **own), out / name)
        auto = AutoModel if fields["model_type"] in ENCODERS else AutoModelForCausalLM
        model = auto.from_pretrained(out / name, dtype=torch.float32).eval()
        with torch.no_grad():
            rows = model(tokens[None])[0][0]
        save_file({"tokens": tokens.int(), "rows": rows.contiguous()}, out / name / "rows.out")
        print(name, flush=True)


main()
