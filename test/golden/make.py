"""Remakes the golden files: `python3 test/golden/make.py [part ...]`.

Numbers come from real transformers and PEFT (environment.py pins them), on tiny random models
whose weights are committed beside them; `chat` has rendered templates, `smollm2` real weights.
README.md says what each file holds.
"""

import json
import pathlib
import shutil
import sys
import tempfile

from environment import enter

enter()

import torch
import transformers
from peft import get_peft_model
from safetensors.torch import save_file

import cases
import measure
from chat import write_chat
from families import CONFIGS, generator, load_base, make_batches, write_base, write_batches
from smollm2 import write_smollm2

HERE = pathlib.Path(__file__).resolve().parent
GREEDY_PROMPT = [5, 17, 42, 8, 23]


def adapted(family: str, case: str, dtype: torch.dtype = torch.float32):
    """The base with the case's adapter in its initial state, nothing of it at a neutral value."""
    base = load_base(HERE / family / "base", dtype)
    if case in ("none", "full"):
        return base.requires_grad_(case == "full")
    torch.manual_seed(sum(map(ord, family + case)))
    model = get_peft_model(base, cases.CONFIGS[case](family)).train()
    with torch.no_grad():
        for name, parameter in measure.trainables(model).items():
            noise = torch.randn(parameter.shape, generator=generator(family, case, name))
            if ".lora_B." in name:
                parameter.copy_(0.15 * noise)
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.2 * noise)
            elif ".modules_to_save." in name:
                parameter.add_(0.1 * noise)
    return model


def write_adapter(model, folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(pathlib.Path(saved, name), folder / name)


def relative(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest difference over the largest value."""
    scale = exact.double().abs().max().item()
    return (ours.double() - exact.double()).abs().max().item() / (scale or 1.0)


def snapshot(model, batch: list[dict]) -> dict[str, torch.Tensor]:
    logits = measure.real_logits(model, batch)
    tensors = {"logits": logits.float() if logits.dtype == torch.bfloat16 else logits}
    loss, gradients = measure.loss_and_gradients(model, batch) if measure.trainables(model) else (None, {})
    if loss is None:
        with torch.no_grad():
            loss = model(**measure.padded(batch)).loss.item()
    tensors["loss"] = torch.tensor(loss, dtype=tensors["logits"].dtype)
    return tensors | {f"grad.{name}": gradient for name, gradient in gradients.items()}


def worst(ours: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], prefix: str = "") -> float:
    return max((relative(ours[name], exact[name]) for name in ours if name.startswith(prefix)), default=0.0)


def errors(golden: dict, reference: dict) -> dict[str, float]:
    kinds = {"logits": "logits", "loss": "loss", "gradients": "grad."}
    return {kind: float(f"{worst(golden, reference, prefix):.2e}") for kind, prefix in kinds.items()}


def write_case(family: str, case: str, batches: list[list[dict]]) -> dict:
    folder = HERE / family / case
    folder.mkdir(parents=True, exist_ok=True)
    model = adapted(family, case)
    initial = measure.copies(model)
    golden = snapshot(model, batches[0])
    facts: dict = {}

    # The same in double precision says how much of a difference is only f32 rounding.
    precise = measure.in_double(adapted(family, case))
    facts["f32_against_f64"] = errors(golden, snapshot(precise, batches[0]))

    if case in cases.GREEDY:
        facts["greedy"] = measure.greedy(model, GREEDY_PROMPT, 12)
    if case not in ("none", "full"):
        write_adapter(model, folder)
        save_file(initial, folder / "initial.safetensors")
    if case in cases.BF16 and family in cases.BF16_FAMILIES:
        half = adapted(family, case, torch.bfloat16)
        measure.restore(half, initial)
        rounded = snapshot(half, batches[0])
        save_file(rounded, folder / "golden-bf16.safetensors")
        facts["bf16_against_f32"] = errors(rounded, golden)
    if case != "none":
        history = measure.train(model, batches)
        exact = measure.train(precise, batches)
        (folder / "trajectory.json").write_text(json.dumps({"settings": measure.TRAINING, **history}, indent=1) + "\n")
        final, exact_final = measure.copies(model), measure.copies(precise)
        facts["f32_against_f64"]["trajectory"] = float(
            f"{relative(torch.tensor(history['losses']), torch.tensor(exact['losses'])):.2e}"
        )
        facts["f32_against_f64"]["final"] = float(f"{worst(final, exact_final):.2e}")
        if case != "full":
            save_file(final, folder / "final.safetensors")
    if case.startswith("lora"):
        measure.restore(model, initial)
        golden["merged_logits"] = measure.real_logits(model.merge_and_unload(), batches[0])
        facts["merged_against_adapted"] = float(f"{relative(golden['merged_logits'], golden['logits']):.2e}")
    save_file({name: tensor.contiguous() for name, tensor in golden.items()}, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")
    return {"loss": golden["loss"].item(), **facts}


def write_family(family: str) -> None:
    shutil.rmtree(HERE / family, ignore_errors=True)
    write_base(family, HERE / family / "base")
    batches = make_batches(family, CONFIGS[family]().vocab_size)
    write_batches(HERE / family / "batches.json", batches)
    for case in cases.CASES[family]:
        print(family, case, json.dumps(write_case(family, case, batches)), flush=True)


if __name__ == "__main__":
    # One thread: the order of a parallel sum would depend on the machine.
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for part in sys.argv[1:] or [*CONFIGS, "chat", "smollm2"]:
        if part == "chat":
            write_chat(HERE / part)
        elif part == "smollm2":
            write_smollm2(HERE / part)
        else:
            write_family(part)
