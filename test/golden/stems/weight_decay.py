"""Norms of each base that Transformers' Trainer excludes from weight decay, by `get_decay_parameter_names`."""

import json
import pathlib
import re

from transformers import AutoConfig, Trainer

import families
import stem

HERE = pathlib.Path(__file__).resolve().parents[1]


def undecayed(family: str) -> list[str]:
    """Parameters without weight decay that are not biases, without layer numbers."""
    model = families.auto_class(config := AutoConfig.from_pretrained(HERE / family / "base")).from_config(config)
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    names = {name for name, _ in model.named_parameters()} - decayed
    return sorted({re.sub(r"\.\d+\.", ".N.", name) for name in names if not name.endswith("bias")})


def write_names() -> None:
    names = {family: undecayed(family) for family in sorted(stem.gathered("FAMILIES"))}
    (HERE / "weight-decay.json").write_text(json.dumps(names, indent=1) + "\n")


FILES = {"weight-decay": write_names}
