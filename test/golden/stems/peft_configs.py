"""Every field of every PEFT config with its default. A method must support it or reject it by name."""

import dataclasses
import json
import pathlib

from peft import PEFT_TYPE_TO_CONFIG_MAPPING


def default(field: dataclasses.Field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else getattr(field.default, "value", field.default)


def plain(value):
    """JSON value of a dataclass or a set."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else sorted(value)


def write_configs() -> None:
    fields = {
        kind.value: {field.name: default(field) for field in dataclasses.fields(config) if field.name != "runtime_config"}
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    folder = pathlib.Path(__file__).resolve().parents[1]
    text = json.dumps(fields, indent=1, sort_keys=True, default=plain)
    (folder / "peft-configs.json").write_text(text + "\n")


FILES = {"peft-configs": write_configs}
