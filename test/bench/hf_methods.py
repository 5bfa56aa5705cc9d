"""Python side of test/bench/methods.mjs: methods of the real PEFT, in one process.

    python3 test/bench/hf_methods.py --shorten DIR OUT LAYERS
    python3 test/bench/hf_methods.py --serve DIR sequences.jsonl THREADS wall|cpu

--shorten copies the first layers of a Hugging Face folder, with its tokenizer. --serve reads requests from stdin, one
per line, and prints one line for each. A request is {peft, steps, dtype, init, write}, where peft are the adapter's
fields, or null for full fine-tuning. With `write`, PEFT's initial adapter is written to the folder `init`. Otherwise it
is loaded from there and trained: {losses, seconds, trainable}.
"""

import gc
import json
import os
import pathlib
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "golden"))

from environment import enter

enter()

# PEFT would load bitsandbytes for quantized linear layers, of which there are none
sys.modules["bitsandbytes"] = None

BATCH = 8
CLOCK = sys.argv[-1]


def shorten(base: pathlib.Path, out: pathlib.Path, layers: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, num_hidden_layers=layers).save_pretrained(out)
    for file in base.iterdir():
        if "token" in file.name or file.suffix == ".jinja":
            shutil.copyfile(file, out / file.name)


def make(base: pathlib.Path, request: dict):
    import torch
    from families import load_base
    from peft import get_peft_model, set_peft_model_state_dict
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    model = load_base(base, {"bf16": torch.bfloat16, "f32": torch.float32}[request["dtype"]])
    if request["peft"] is None:
        return model
    fields = {**request["peft"]}
    # prefixes are passed as a cache, which must be enabled
    model.config.use_cache = fields["peft_type"] in ("PREFIX_TUNING", "CARTRIDGE")
    if (mixes := fields["peft_type"] == "XLORA"):
        fields["hidden_size"] = model.config.hidden_size
        if request["write"]:
            for folder in fields["adapters"].values():
                write_lora(base, folder)
    config = PEFT_TYPE_TO_CONFIG_MAPPING[fields.pop("peft_type")](task_type="CAUSAL_LM", **fields)
    model = get_peft_model(model, config)
    file = pathlib.Path(request["init"]) / "adapter_model.safetensors"
    if request["write"]:
        model.save_pretrained(request["init"], **({"selected_adapters": ["default"]} if mixes else {}))
        if mixes:
            save_file(classifier(model), file, metadata={"format": "pt"})
    elif mixes:
        model.load_state_dict(load_file(file), strict=False)
    else:
        set_peft_model_state_dict(model, load_file(file))
    return model.train()


def classifier(model) -> dict:
    """All tensors of X-LoRA's classifier. PEFT omits tensors whose names contain an adapter's name."""
    return {key: tensor.contiguous() for key, tensor in model.state_dict().items() if "internal_xlora" in key}


def write_lora(base: pathlib.Path, folder: str) -> None:
    """Writes a LoRA for X-LoRA to mix, with nonzero weights."""
    import torch
    from families import load_base
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(load_base(base, torch.bfloat16), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    model.save_pretrained(folder)


# Methods whose loss has additional terms. Graft reports the model's own loss.
WITH_PENALTY = ("ADALORA", "SHADOW")


def own_losses(model) -> list:
    """Records the model's own losses from now on."""
    base = model.get_base_model()
    of, losses = base.loss_function, []

    def kept(*arguments, **keywords):
        loss = of(*arguments, **keywords)
        losses.append(loss.item())
        return loss

    base.loss_function = kept
    return losses


def train(model, sequences: list[dict], request: dict) -> dict:
    import measure
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.01)
    peft_type = request["peft"] and request["peft"]["peft_type"]
    own = own_losses(model) if peft_type in WITH_PENALTY else None
    losses, seconds = [], []
    now = time.process_time if CLOCK == "cpu" else time.perf_counter
    for step in range(request["steps"]):
        started = now()
        loss = measure.mean_loss(model, sequences[BATCH * step : BATCH * (step + 1)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        trainable = sum(p.numel() for p in parameters if p.grad is not None)
        optimizer.step()
        if peft_type == "ADALORA":
            model.base_model.update_and_allocate(step + 1)
        optimizer.zero_grad()
        losses.append(own[-1] if own else loss.item())
        seconds.append(now() - started)
    return {"losses": losses, "seconds": seconds, "trainable": trainable}


def serve(base: pathlib.Path, data: pathlib.Path, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    sequences = [json.loads(line) for line in data.read_text().splitlines()]
    for line in sys.stdin:
        request = json.loads(line)
        try:
            model = make(base, request)
            answer = {} if request["write"] else train(model, sequences, request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        model = None
        gc.collect()
        print(json.dumps(answer), flush=True)


def main() -> None:
    mode, *arguments = sys.argv[1:]
    if mode == "--shorten":
        base, out, layers = arguments
        shorten(pathlib.Path(base), pathlib.Path(out), int(layers))
        return
    if "LD_PRELOAD" not in os.environ:
        from tcmalloc import tcmalloc

        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(tcmalloc())})
    base, data, threads, _ = arguments
    serve(pathlib.Path(base), pathlib.Path(data), int(threads))


main()
