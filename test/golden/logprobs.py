"""Log probabilities of a greedy continuation in Transformers: log_softmax of the raw logits of full forward passes.

Writes llama/none/logprobs.json for the greedy tokens of its golden.json: ln p of each token, and the five most likely
tokens.
"""

import json
import pathlib

import torch
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent / "llama"
TOP = 5


def main() -> None:
    greedy = json.loads((HERE / "none" / "golden.json").read_text())["greedy"]
    model = AutoModelForCausalLM.from_pretrained(HERE / "base", dtype=torch.float32).eval()
    prompt, tokens = greedy["prompt"], greedy["tokens"]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0]
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    steps = []
    for row, token in zip(rows, tokens):
        values, ids = row.topk(TOP)
        steps.append({"id": token, "logprob": row[token].item(), "top": [ids.tolist(), values.tolist()]})
    (HERE / "none" / "logprobs.json").write_text(json.dumps(steps, indent=1) + "\n")


if __name__ == "__main__":
    main()
