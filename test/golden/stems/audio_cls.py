"""Audio classification with Transformers. PEFT has no task_type for it, so modules_to_save names the head.

Clips are generated from a number, as images are (image_cls.py). A case's options are the task's.
"""

import pathlib

import torch
from families import generator
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from stem import Case, Task, load
from transformers import AutoModelForAudioClassification

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
NAMES = ["x", "y", "z"]
SIZES = {"wav2vec2": [90], "audio": [15, 11], "whisper": [6, 20]}
WHISPER = ("whisper-audio", "whisper-labels")
# Bases whose heads read a weighted sum of all layers.
SUMS = ("wav2vec2-sum", "wav2vec2-stable-sum", "whisper-labels-sum")
BOTH = ("wav2vec2", "audio-spectrogram-transformer")
pixels = load("image_cls").pixels


def size_of(family: str) -> list[int]:
    return SIZES[family.split("-")[0]]


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    stream = generator(family, "sounds")

    def draw(high: int) -> int:
        return int(torch.randint(0, high, (1,), generator=stream))

    def record() -> dict:
        return {"picture": draw(1000), "size": size_of(family), SINGLE: draw(len(NAMES)), MULTI: [draw(2) for _ in NAMES]}

    return [[record() for _ in range(4)] for _ in range(count)]


def run(model, batch: list[dict], **more):
    dtype = next(model.parameters()).dtype
    return model(torch.stack([pixels(record) for record in batch]).to(dtype), **more)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    """Loss of single-label classification, the only one that Transformers' audio models support."""
    problem = options["problem_type"]
    wanted = torch.tensor([record[problem] for record in batch])
    logits = run(model, batch).logits.to(torch.promote_types(next(model.parameters()).dtype, torch.float32))
    if problem == SINGLE:
        return torch.nn.functional.cross_entropy(logits, wanted)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype))


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [records, labels]."""
    with torch.no_grad():
        return {"logits": run(model, batch).logits}


TASKS = {
    "audio_cls": Task(
        file="sounds.json",
        peft_type=None,
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: 1,
        slots=len,
        auto=AutoModelForAudioClassification,
        fields=lambda options: {"num_labels": len(options["labels"])},
        head=("projector", "classifier", "layer_weights"),
    )
}


def weighed(model):
    """Also trains the weights of the layers if there are any. PEFT addresses modules, so it neither trains nor saves
    them.
    """
    for name, parameter in model.named_parameters():
        if not name.endswith("layer_weights"):
            continue
        with torch.no_grad():
            parameter.copy_(torch.linspace(-0.7, 0.9, len(parameter)))
        parameter.requires_grad_(True)
        save, tensor = model.save_pretrained, {name: parameter}

        def save_whole(folder, **how) -> None:
            save(folder, **how)
            file = pathlib.Path(folder, "adapter_model.safetensors")
            save_file(load_file(file) | {key: one.detach() for key, one in tensor.items()}, file, metadata={"format": "pt"})

        model.save_pretrained = save_whole
    return model


def heard(config=None, families=("wav2vec2",), problem: str = SINGLE, merges: bool = False, bf16: bool = False) -> Case:
    make = (lambda family: config()) if config else (lambda family: None)
    options = {"problem_type": problem, "labels": NAMES}
    more = {"prepare": weighed} if config else {}
    return Case(make, families=families, task="audio_cls", options=options, merges=merges, bf16=bf16, **more)


def lora(**more) -> LoraConfig:
    saved = ["projector", "classifier"]
    return LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], "modules_to_save": saved, **more})


CASES = {
    "audio-lora": heard(lora, families=("wav2vec2", "wav2vec2-stable", *WHISPER, *SUMS), merges=True, bf16=True),
    "audio-multi": heard(lora, families=("wav2vec2", WHISPER[0]), problem=MULTI),
    "audio-full": heard(families=(*BOTH, "wav2vec2-stable", *WHISPER, *SUMS)),
    "audio-all-linear": heard(
        lambda: lora(target_modules="all-linear", use_dora=True), families=("wav2vec2", WHISPER[0]), merges=True
    ),
    "audio-patches": heard(
        lambda: lora(target_modules=["projection", "q_proj"], modules_to_save=["classifier"]),
        families=BOTH[1:],
        merges=True,
        bf16=True,
    ),
}
