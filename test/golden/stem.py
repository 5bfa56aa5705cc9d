"""Definitions for golden stems. Each file of stems/ is one: the goldens of one plug-in.

A stem defines these dictionaries: FAMILIES (bases), CASES (adapters on a base), TASKS (batches and losses), NOISE
(moves
trainable parameters away from neutral values), FILES (functions that write other files). No other file needs to change.
"""

import functools
import importlib.util
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

FOLDER = pathlib.Path(__file__).resolve().parent / "stems"

Batch = list[dict]
Tensors = dict[str, torch.Tensor]


def no_write(folder: pathlib.Path) -> None:
    """Leaves a written base unchanged."""


@dataclass(frozen=True)
class Family:
    """Tiny random base, written to `<family>/base`."""

    config: Callable[[], object]
    # Cases of any stem that run on it, in addition to those that list it in `families`.
    cases: tuple[str, ...] = ("none",)
    task: str = "causal_lm"
    # Whether cases with `bf16` also run with the base in bf16, or the names of those that do.
    bf16: bool | tuple[str, ...] = False
    # Whether adapters can be merged. PEFT merges into a quantized matrix by quantizing it again, which results in
    # another model.
    merges: bool = True
    # Learning rate of its trajectories.
    learning_rate: float = 1e-2
    # Converts the f32 folder to the files that users have, if they differ.
    convert: Callable[[pathlib.Path], None] = no_write


@dataclass(frozen=True)
class Case:
    """Adapter on a base, written to `<family>/<case>`. A config of None means full fine-tuning, or the bare base.

    The config has no task_type, because the task sets it.
    """

    config: Callable[[str], object] = lambda family: None
    families: tuple[str, ...] = ()
    task: str | None = None
    trains: bool = True
    merges: bool = False
    greedy: bool = False
    bf16: bool = False
    # Whether the adapter's initialization subtracts a part from the base. Then PEFT also saves the adapter for the
    # original base, in `converted/`.
    converts: bool = False
    options: dict = field(default_factory=dict)
    # The model's mode: False if its randomness in training goes beyond dropout.
    training: bool = True
    # Changes the model in its initial state before anything is measured.
    prepare: Callable[[object], object] = lambda model: model
    # Creates another optimizer for the trajectory than AdamW in one group, from the model and the settings. `settings`
    # are its own options.
    optimizer: Callable[[object, dict], torch.optim.Optimizer] | None = None
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Task: batches of plain data, the loss of a batch, and other outputs."""

    file: str
    # PEFT's task type.
    peft_type: str
    make_batches: Callable[[str, int], list[Batch]]
    # Scalar loss with its graph, and output tensors without. The options are the case's.
    loss: Callable[[object, Batch, dict], torch.Tensor]
    outputs: Callable[[object, Batch, dict], Tensors]
    # Number of input tokens of a record, and number of positions of a batch including padding.
    tokens: Callable[[dict], int]
    slots: Callable[[Batch], int]
    greedy: Callable[[object], dict] | None = None
    # Transformers class that loads a base; by default chosen by the base's config.
    auto: type | None = None
    # Additional config fields for the case's options, such as the number of labels.
    fields: Callable[[dict], dict] = lambda options: {}
    # Prefixes of modules that no base has. They are initialized randomly unless something else initializes them.
    head: tuple[str, ...] = ()
    # Metrics of each step of a trajectory, before its update.
    metrics: Callable[[object, Batch, dict], dict[str, float]] | None = None


@functools.cache
def load(name: str):
    spec = importlib.util.spec_from_file_location(f"stems.{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def stems() -> dict[str, object]:
    return {path.stem: load(path.stem) for path in sorted(FOLDER.glob("*.py"))}


@functools.cache
def gathered(kind: str) -> dict:
    """All entries of one kind, from all stems. Names must be unique."""
    everything: dict = {}
    for stem, module in stems().items():
        brought = getattr(module, kind, {})
        if twice := everything.keys() & brought.keys():
            raise ValueError(f"{kind} of {stem} are another stem's too: {sorted(twice)}")
        everything |= brought
    return everything


def cases_of(family: str) -> list[str]:
    own = gathered("FAMILIES")[family].cases
    return [*own, *(name for name, case in gathered("CASES").items() if family in case.families and name not in own)]
