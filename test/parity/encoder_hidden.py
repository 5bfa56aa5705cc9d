"""Token ids, token types and last hidden states of texts and pairs, computed by Transformers.

    echo '{"inputs": ["a text", ["a", "pair"]], "max_length": 64}' | python3 test/parity/encoder_hidden.py --base DIR --out FILE

FILE: safetensors with `ids.N`, `types.N` (if the model has types) and `hidden.N` [T, D] for each input.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from environment import enter

enter()

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    asked = json.load(sys.stdin)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    model = AutoModel.from_pretrained(options.base, dtype=torch.float32).eval()
    found = {}
    for number, given in enumerate(asked["inputs"]):
        texts = [given] if isinstance(given, str) else given
        rows = tokenizer(*texts, truncation=True, max_length=asked["max_length"], return_tensors="pt")
        with torch.no_grad():
            hidden = model(**rows).last_hidden_state[0]
        found |= {
            f"ids.{number}": rows["input_ids"][0].int().contiguous(),
            f"hidden.{number}": hidden.contiguous(),
        }
        if "token_type_ids" in rows:
            found[f"types.{number}"] = rows["token_type_ids"][0].int().contiguous()
    save_file(found, options.out)


main()
