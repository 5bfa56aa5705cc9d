"""Logits of the real PEFT with adapters that have their own head.

    echo '[{"adapter": DIR, "models": "SequenceClassification",
            "records": [{"tokens": [1, 5], "types": [0, 1]}], "out": FILE}]' | python3 test/parity/peft_head_logits.py

A record may be {"values": [0.5, …], "size": [90]} instead: features of an audio clip. Each adapter is loaded as its
model card describes: the base with the config.json of the adapter's folder. FILE: safetensors with one f32 tensor per
record, named "0", "1", …. Prints "labels" for each adapter: Transformers' label names. Exits with 1 and a message if
the adapter's tensors are not exactly those that PEFT expects.
"""

import json
import pathlib
import sys

from loading import check_keys

import torch
import transformers
from peft import PeftModel
from safetensors.torch import save_file


def outputs(model, record: dict) -> torch.Tensor:
    if "values" in record:
        return model(torch.tensor(record["values"]).view(1, *record["size"])).logits
    tokens = torch.tensor([record["tokens"]])
    rows = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if getattr(model.config, "type_vocab_size", 0) > 1 and "QuestionAnswering" not in type(model).__name__:
        rows["token_type_ids"] = torch.tensor([record["types"]])
    found = model(**rows)
    both = (found.start_logits, found.end_logits) if hasattr(found, "start_logits") else None
    return torch.stack(both, -1) if both else found.logits


def main() -> None:
    for case in json.load(sys.stdin):
        folder = case["adapter"]
        config = transformers.AutoConfig.from_pretrained(folder)
        name = json.loads(pathlib.Path(folder, "adapter_config.json").read_text())["base_model_name_or_path"]
        kind = getattr(transformers, f"AutoModelFor{case['models']}")
        base = kind.from_pretrained(name, config=config, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, folder).eval()
        check_keys(model, pathlib.Path(folder))
        with torch.no_grad():
            found = {str(i): outputs(model, record)[0].contiguous() for i, record in enumerate(case["records"])}
        save_file(found, case["out"])
        print(json.dumps(model.config.id2label))


main()
