"""What a golden stem is made of. Each file of stems/ is one: a plug-in's part of the goldens.

A stem defines what it brings, by name: FAMILIES (bases), CASES (adapters on a base), TASKS (what is learnt), NOISE
(what takes a trainable away from its neutral value), FILES (functions that write more). Nothing else has to be edited
for it.
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
    """A base that is not changed once it is written."""


@dataclass(frozen=True)
class Family:
    """A tiny random base, written to `<family>/base`."""

    config: Callable[[], object]
    # Cases of any stem that run on it, beside those that name it themselves.
    cases: tuple[str, ...] = ("none",)
    task: str = "causal_lm"
    # Whether cases that ask for it are also run with the base in bf16, or which of them.
    bf16: bool | tuple[str, ...] = False
    # PEFT merges into a packed matrix by packing it anew, which is another model.
    merges: bool = True
    # Of its trajectories.
    learning_rate: float = 1e-2
    # Turns the f32 folder into what a user has on disk, when that is something else.
    convert: Callable[[pathlib.Path], None] = no_write


@dataclass(frozen=True)
class Case:
    """An adapter on a base, written to `<family>/<case>`; its config is None where all of the base trains, or nothing.

    The config says no task_type: that is the task's.
    """

    config: Callable[[str], object] = lambda family: None
    families: tuple[str, ...] = ()
    task: str | None = None
    trains: bool = True
    merges: bool = False
    greedy: bool = False
    bf16: bool = False
    # Whether its adapter takes a part of the base: then PEFT also saves it for the base as it was, into `converted/`.
    converts: bool = False
    options: dict = field(default_factory=dict)
    # The model's mode; False where what it does in training is random beyond dropout.
    training: bool = True
    # What becomes of the model in its initial state before anything is measured of it.
    prepare: Callable[[object], object] = lambda model: model
    # Makes another optimiser of the trajectory than AdamW in one group, by the model and the settings; `settings` are
    # what it has of its own.
    optimizer: Callable[[object, dict], torch.optim.Optimizer] | None = None
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is learnt: batches of plain data, the loss on one and the numbers beside it."""

    file: str
    # PEFT's name of it.
    peft_type: str
    make_batches: Callable[[str, int], list[Batch]]
    # Scalar loss with its graph; tensors without; options are the case's.
    loss: Callable[[object, Batch, dict], torch.Tensor]
    outputs: Callable[[object, Batch, dict], Tensors]
    # Of a record and of a batch: input tokens, and the places that they take with their padding.
    tokens: Callable[[dict], int]
    slots: Callable[[Batch], int]
    greedy: Callable[[object], dict] | None = None
    # transformers' class that loads a base; by the base's config when None.
    auto: type | None = None
    # What its config is told beside, by the case's options: how many labels there are.
    fields: Callable[[dict], dict] = lambda options: {}
    # Names of modules that no base has: they are drawn where nothing else says what they begin with.
    head: tuple[str, ...] = ()
    # Numbers of each step of a trajectory, before its update.
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
    """Everything of one kind, of all stems; a name belongs to one."""
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
