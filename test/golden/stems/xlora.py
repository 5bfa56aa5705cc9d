"""X-LoRA over LoRAs of several ranks, scales and targets.

PEFT drops tensors whose names contain another adapter's name ("0", "1") when it saves and loads. So the adapter is
written completely here, next to the original LoRAs.
"""

import functools
import json
import pathlib
import shutil
import tempfile

import torch
from families import generator, load_base
from peft import LoraConfig, XLoraConfig, get_peft_model
from safetensors.torch import save_file
from stem import Case

GOLDEN = pathlib.Path(__file__).resolve().parent.parent
WRITTEN = tempfile.TemporaryDirectory()

LORAS = (
    dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"]),
    dict(r=3, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "down_proj"]),
    dict(r=1, target_modules=["up_proj"]),
)


@functools.cache
def lora(family: str, number: int) -> str:
    """Returns the folder of a trained LoRA."""
    config = LoraConfig(task_type="CAUSAL_LM", **LORAS[number])
    model = get_peft_model(load_base(GOLDEN / family / "base"), config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator(family, "xlora", number, key))
                parameter.copy_(0.15 * noise)
    folder = pathlib.Path(WRITTEN.name, family, str(number))
    model.save_pretrained(folder)
    return str(folder)


def mixed(family: str, count: int, **options) -> XLoraConfig:
    return XLoraConfig(hidden_size=32, adapters={str(i): lora(family, i) for i in range(count)}, **options)


def saved_whole(model):
    adapters = model.peft_config["default"].adapters

    def save(folder, **how) -> None:
        type(model).save_pretrained(model, folder, selected_adapters=["default"], **how)
        kept = {key: tensor.contiguous() for key, tensor in model.state_dict().items() if "internal_xlora" in key}
        save_file(kept, pathlib.Path(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
        config = pathlib.Path(folder, "adapter_config.json")
        fields = json.loads(config.read_text()) | {"adapters": {name: name for name in adapters}}
        config.write_text(json.dumps(fields, indent=2, sort_keys=True))
        for name, source in adapters.items():
            pathlib.Path(folder, name).mkdir()
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                shutil.copyfile(pathlib.Path(source, file), pathlib.Path(folder, name, file))

    model.save_pretrained = save
    return model


CASES = {
    "xlora": Case(
        lambda family: mixed(family, 2), families=("llama",), greedy=True, bf16=True, prepare=saved_whole
    ),
    "xlora-pass": Case(
        lambda family: mixed(
            family, 2, xlora_depth=2, xlora_size=4, xlora_dropout_p=0.1, scaling_pass_value=0.5, softmax_temperature=0.6
        ),
        families=("llama",),
        training=False,
        prepare=saved_whole,
    ),
    "xlora-layers": Case(
        lambda family: mixed(
            family,
            3,
            xlora_depth=3,
            xlora_size=6,
            xlora_dropout_p=0.0,
            layerwise_scalings=True,
            enable_softmax=False,
            enable_softmax_topk=True,
            top_k_lora=2,
            global_scaling_weight=1.5,
        ),
        families=("qwen2",),
        prepare=saved_whole,
    ),
}

NOISE = {"internal_xlora_classifier": lambda parameter, noise: parameter.copy_(0.3 * noise)}
