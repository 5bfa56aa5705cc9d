"""Paths of all modules of the Transformers classes that tasks load, for families whose classes have modules that Graft
does not load: another tower, a pooler, an identity.

    python3 test/golden/module_paths.py

Writes `module-paths.json`: {family: {class: [path]}}.
"""

import json
import pathlib

from environment import enter

enter()

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = {
    "siglip": ["", "ForImageClassification"],
    "siglip-head": ["", "ForImageClassification"],
    "vit": ["", "ForImageClassification"],
    "deit": ["", "ForImageClassification"],
    "roberta": ["", "ForSequenceClassification"],
    "camembert": [""],
    "bert": ["", "ForSequenceClassification"],
    "modernbert": ["", "ForSequenceClassification"],
    "whisper": ["ForSpeechSeq2Seq", "ForAudioClassification"],
    "bart": ["ForSeq2SeqLM"],
    "t5": ["ForSeq2SeqLM"],
}


def paths(family: str, name: str) -> list[str]:
    config = transformers.AutoConfig.from_pretrained(HERE / family / "base")
    with torch.device("meta"):
        model = getattr(transformers, f"AutoModel{name}").from_config(config)
    return [path for path, _ in model.named_modules() if path]


found = {family: {f"AutoModel{name}": paths(family, name) for name in names} for family, names in FAMILIES.items()}
(HERE / "module-paths.json").write_text(json.dumps(found, indent=1) + "\n")
