"""Logits of a base with an adapter, computed by the real PEFT.

    echo '[[1, 5, 9], [3, 4]]' | python3 test/parity/peft_logits.py --base DIR [--adapter DIR] --out FILE

stdin: a JSON list of lists of token ids. FILE: safetensors with one f32 tensor [T, V] per list, named "0", "1", ...
Each list runs alone, so nothing is padded. The base is a Hugging Face folder or a GGUF file. Exits with 1 and a message
if the adapter's tensors are not exactly those that PEFT expects.
"""

import argparse
import json
import pathlib
import sys

from loading import DTYPES, load_adapted

import measure
import torch
from safetensors.torch import save_file


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--adapter", type=pathlib.Path)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--merge", action="store_true", help="merge the adapter into the base first")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sequences = json.load(sys.stdin)
    model = load_adapted(options.base, options.adapter, DTYPES[options.dtype])
    if options.merge:
        model = model.merge_and_unload()
    logits = {
        str(index): measure.real_logits(model, [{"tokens": tokens, "labels": tokens}]).float().contiguous()
        for index, tokens in enumerate(sequences)
    }
    save_file(logits, options.out)


main()
