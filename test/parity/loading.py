"""Loads bases and adapters with the real Transformers and PEFT, and rejects tensors that PEFT would ignore."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from environment import enter

enter()

import bitsandbytes
import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import smollm2

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64}


def load_base(path: pathlib.Path, dtype: torch.dtype):
    """Loads a Hugging Face folder or a GGUF file, without dropout and without a name for adapters."""
    if path.suffix == ".gguf":
        return smollm2.load(path, dtype)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    if hasattr(model.config, "num_experts_per_tok"):
        # other implementations require sizes that are multiples of 16 bytes
        model.set_experts_implementation("eager")
    model.name_or_path = model.config._name_or_path = ""
    return model


def check_keys(model, folder: pathlib.Path) -> None:
    """Exits if tensors are unknown or missing. PEFT ignores unknown tensors and only warns of missing ones."""
    stored = load_file(folder / "adapter_model.safetensors").keys()
    wanted = set(get_peft_model_state_dict(model))
    if model.peft_config["default"].peft_type == "XLORA":
        # PEFT omits tensors whose names contain an adapter's name
        wanted = {key for key in model.state_dict() if "internal_xlora" in key}
    # a parameter of the model and of none of its modules: PEFT reads it, but does not write it
    wanted |= {key for key in model.state_dict() if key.endswith(".layer_weights")}
    if stored != wanted:
        sys.exit(f"tensors only in the file: {sorted(stored - wanted)}; missing from it: {sorted(wanted - stored)}")


def options_of(folder: pathlib.Path, model) -> dict:
    config = PeftConfig.from_pretrained(str(folder))
    if config.peft_type != "XLORA":
        return {}
    config.adapters = {name: str(folder / name) for name in config.adapters}
    model.config.use_cache = False
    return {"config": config}


def load_adapted(base: pathlib.Path, adapter: pathlib.Path | None, dtype: torch.dtype):
    model = load_base(base, dtype)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter), **options_of(adapter, model))
        check_keys(model, adapter)
    model.eval()
    # in eval mode, bitsandbytes computes in bf16 if the processor supports it
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.train()
    return model
