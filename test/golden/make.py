"""Creates the golden files: `python3 test/golden/make.py [part ...]`.

A part is a stem (one file of stems/), a family, `<family>/<case>`, `chat` or `smollm2`; by default, all of them.
Values come from the real Transformers and PEFT (pinned in environment.py) on tiny random models, whose weights are
committed. `chat` renders templates, `smollm2` uses real weights. README.md lists the contents of each file.
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

import measure
import stem
from chat import write_chat
from families import generator, load_base, write_base, write_batches
from gemma3 import write_gemma3
from smollm2 import write_smollm2

HERE = pathlib.Path(__file__).resolve().parent
# A wrong weight changes every row, so a few rows are enough.
MERGED_ROWS = 8
FAMILIES = stem.gathered("FAMILIES")
CASES = stem.gathered("CASES")
TASKS = stem.gathered("TASKS")
NOISE = {
    **stem.gathered("NOISE"),
    ".modules_to_save.": lambda parameter, noise: parameter.add_(0.1 * noise),
}


def task_of(family: str, name: str) -> str:
    return CASES[name].task or FAMILIES[family].task


def initial(family: str, name: str, dtype: torch.dtype = torch.float32):
    """Base with the case's adapter as PEFT initializes it."""
    task = TASKS[task_of(family, name)]
    base = load_base(HERE / family / "base", dtype, task.auto, **task.fields(CASES[name].options))
    config = CASES[name].config(family)
    config.task_type = task.peft_type
    # X-LoRA runs without a cache only
    base.config.use_cache = getattr(base.config, "use_cache", False) and config.peft_type != "XLORA"
    torch.manual_seed(sum(map(ord, family + name)))
    return get_peft_model(base, config).train(CASES[name].training)


def own_head(model, task: stem.Task) -> stem.Tensors:
    return {key: parameter for key, parameter in model.named_parameters() if key.startswith(task.head)} if task.head else {}


def adapted(family: str, name: str, dtype: torch.dtype = torch.float32):
    """Base with the case's adapter in its initial state, where no parameter has a neutral value."""
    if CASES[name].config(family) is None:
        task = TASKS[task_of(family, name)]
        base = load_base(HERE / family / "base", dtype, task.auto, **task.fields(CASES[name].options))
        with torch.no_grad():
            for key, parameter in own_head(base, task).items():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator(family, name, key)))
        return base.requires_grad_(CASES[name].trains)
    model = initial(family, name, dtype)
    with torch.no_grad():
        for key, parameter in measure.trainables(model).items():
            noise = torch.randn(parameter.shape, generator=generator(family, name, key))
            for part in (part for part in NOISE if part in key):
                NOISE[part](parameter, noise)
    return CASES[name].prepare(model)


def write_converted(family: str, name: str, folder: pathlib.Path) -> None:
    """Writes the adapter converted for the original base, if its initialization subtracted a part from the base."""
    with tempfile.TemporaryDirectory() as before:
        start = pathlib.Path(before, "initial")
        initial(family, name).save_pretrained(start)
        folder.mkdir()
        write_adapter(adapted(family, name), folder, path_initial_model_for_weight_conversion=str(start))


def write_adapter(model, folder: pathlib.Path, **how) -> None:
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved, **how)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(pathlib.Path(saved, name), folder / name)
        # adapters that the adapter is built from
        for part in pathlib.Path(saved).glob("[0-9]"):
            shutil.copytree(part, folder / part.name)


def relative(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest difference divided by the largest value."""
    scale = exact.double().abs().max().item()
    return (ours.double() - exact.double()).abs().max().item() / (scale or 1.0)


def worst(ours: stem.Tensors, exact: stem.Tensors, names: list[str]) -> float:
    return max((relative(ours[name], exact[name]) for name in names), default=0.0)


def errors(golden: stem.Tensors, reference: stem.Tensors) -> dict[str, float]:
    kinds: dict[str, list[str]] = {name: [name] for name in golden if not name.startswith("grad.")}
    kinds["gradients"] = [name for name in golden if name.startswith("grad.")]
    return {kind: float(f"{worst(golden, reference, names):.2e}") for kind, names in kinds.items()}


def snapshot(model, task: stem.Task, batch: stem.Batch, case: stem.Case) -> stem.Tensors:
    tensors = {
        name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        for name, tensor in task.outputs(model, batch, case.options).items()
    }
    dtype = next(iter(tensors.values())).dtype
    loss_of = lambda model, batch: task.loss(model, batch, case.options)
    if measure.trainables(model):
        loss, gradients = measure.loss_and_gradients(model, batch, loss_of)
    else:
        with torch.no_grad():
            loss, gradients = loss_of(model, batch).item(), {}
    tensors["loss"] = torch.tensor(loss, dtype=dtype)
    return tensors | {f"grad.{name}": gradient for name, gradient in gradients.items()}


def write_trajectory(models: tuple, task: stem.Task, batches: list[stem.Batch], case: stem.Case, folder: pathlib.Path) -> dict:
    """Trains both models, the second one in double precision."""
    model, precise = models
    settings = {**measure.TRAINING, "learning_rate": FAMILIES[folder.parent.name].learning_rate, **case.settings}
    loss_of = lambda model, batch: task.loss(model, batch, case.options)
    watch = task.metrics and (lambda model, batch: task.metrics(model, batch, case.options))
    names = measure.trainables(model).keys()
    history = measure.train(model, batches, settings, loss_of, watch, case.optimizer)
    exact = measure.train(precise, batches, settings, loss_of, optimizer_of=case.optimizer)
    for trained in models:
        # an optimizer may have frozen some parameters
        for parameter in (p for name, p in trained.named_parameters() if name in names):
            parameter.requires_grad_(True)
    (folder / "trajectory.json").write_text(json.dumps({"settings": settings, **history}, indent=1) + "\n")
    final, exact_final = measure.copies(model), measure.copies(precise)
    if (folder / "initial.safetensors").exists():
        save_file(final, folder / "final.safetensors")
    losses = relative(torch.tensor(history["losses"]), torch.tensor(exact["losses"]))
    return {"trajectory": float(f"{losses:.2e}"), "final": float(f"{worst(final, exact_final, list(final)):.2e}")}


def write_case(family: str, name: str) -> dict:
    case = CASES[name]
    task = TASKS[task_of(family, name)]
    batches = json.loads((HERE / family / task.file).read_text())
    folder = HERE / family / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = adapted(family, name)
    begun = measure.copies(model)
    golden = snapshot(model, task, batches[0], case)
    facts: dict = {} if task is TASKS["causal_lm"] else {"task": task_of(family, name)}
    facts |= {"options": case.options} if case.options else {}
    facts |= {} if case.training else {"training": False}

    # The same computation in double precision shows how much of a difference is f32 rounding.
    precise = measure.in_double(adapted(family, name))
    facts["f32_against_f64"] = errors(golden, snapshot(precise, task, batches[0], case))

    if case.greedy and task.greedy:
        facts["greedy"] = task.greedy(model)
    if case.config(family) is not None:
        write_adapter(model, folder)
        if case.converts:
            write_converted(family, name, folder / "converted")
        save_file(begun, folder / "initial.safetensors")
    elif task.head:
        save_file({key: begun[key] for key in own_head(model, task)}, folder / "head.safetensors")
    wide = FAMILIES[family].bf16
    if case.bf16 and (wide if isinstance(wide, bool) else name in wide):
        half = adapted(family, name, torch.bfloat16)
        measure.restore(half, begun)
        rounded = snapshot(half, task, batches[0], case)
        save_file(rounded, folder / "golden-bf16.safetensors")
        facts["bf16_against_f32"] = errors(rounded, golden)
    if case.trains:
        facts["f32_against_f64"] |= write_trajectory((model, precise), task, batches, case, folder)
    if case.merges and FAMILIES[family].merges:
        measure.restore(model, begun)
        merged = task.outputs(model.merge_and_unload(), batches[0], case.options)["logits"]
        facts["merged_against_adapted"] = float(f"{relative(merged, golden['logits']):.2e}")
        golden["merged_logits"] = merged[:MERGED_ROWS]
    save_file({key: tensor.contiguous() for key, tensor in golden.items()}, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")
    return {"loss": golden["loss"].item(), **facts}


def write_base_of(family: str) -> None:
    shutil.rmtree(HERE / family, ignore_errors=True)
    write_base(family, FAMILIES[family].config(), HERE / family / "base")
    FAMILIES[family].convert(HERE / family / "base")


def write_batches_of(family: str, task: stem.Task) -> None:
    write_batches(HERE / family / task.file, task.make_batches(family, getattr(FAMILIES[family].config(), "vocab_size", 0)))


def write_cases(family: str, names: list[str]) -> None:
    for task in {task_of(family, name): None for name in names}:
        write_batches_of(family, TASKS[task])
    for name in names:
        print(family, name, json.dumps(write_case(family, name)), flush=True)


def write_family(family: str) -> None:
    write_base_of(family)
    write_cases(family, stem.cases_of(family))


def write_stem(name: str) -> None:
    brought = stem.stems()[name]
    own = getattr(brought, "FAMILIES", {})
    for family in own:
        write_family(family)
    for family in FAMILIES.keys() - own.keys():
        if names := [case for case in stem.cases_of(family) if case in getattr(brought, "CASES", {})]:
            write_cases(family, names)
    for write in getattr(brought, "FILES", {}).values():
        write()


def write_part(part: str) -> None:
    if part in stem.stems():
        write_stem(part)
    elif part in FAMILIES:
        write_family(part)
    elif "/" in part:
        family, name = part.split("/")
        write_cases(family, [name])
    elif part in (files := stem.gathered("FILES")):
        files[part]()
    else:
        {"chat": write_chat, "gemma3": write_gemma3, "smollm2": write_smollm2}[part](HERE / part)


if __name__ == "__main__":
    # One thread, because the order of a parallel sum would depend on the machine.
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for part in sys.argv[1:] or [*FAMILIES, *stem.gathered("FILES"), "chat", "gemma3", "smollm2"]:
        write_part(part)
