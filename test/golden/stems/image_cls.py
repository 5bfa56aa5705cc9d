"""Image classification with Transformers. PEFT has no task_type for it, so modules_to_save names the head.

Pixels are generated from a number (`pixels`), so that no file contains them. A case's options are the task's.
"""

import torch
from families import generator
from peft import LoraConfig
from stem import Case, Task
from transformers import AutoModelForImageClassification

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
NAMES = ["x", "y", "z"]
# Image size by base, for bases that accept only one.
SIZES = {"siglip": [3, 14, 14], "siglip-head": [3, 14, 14]}
SIZE = [3, 13, 12]


def pixels(record: dict) -> torch.Tensor:
    """Pixels [C, H, W] from -1 to 1 in steps of 1/16, which bf16 represents exactly. Same as in image-records.ts."""
    count = torch.tensor(record["size"]).prod()
    i = torch.arange(count, dtype=torch.int64)
    return (((i * i * 7 + i * 13 + 29 * record["picture"] * (i % 5 + 1)) % 33).float() / 16 - 1).view(record["size"])


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    stream = generator(family, "pictures")

    def draw(high: int) -> int:
        return int(torch.randint(0, high, (1,), generator=stream))

    def record() -> dict:
        return {"picture": draw(1000), "size": SIZES.get(family, SIZE), SINGLE: draw(len(NAMES)), MULTI: [draw(2) for _ in NAMES]}

    return [[record() for _ in range(4)] for _ in range(count)]


def run(model, batch: list[dict], **more):
    dtype = next(model.parameters()).dtype
    return model(pixel_values=torch.stack([pixels(record) for record in batch]).to(dtype), **more)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    problem = options["problem_type"]
    wanted = torch.tensor([record[problem] for record in batch])
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    return run(model, batch, labels=wanted if problem == SINGLE else wanted.to(dtype)).loss


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [records, labels]."""
    with torch.no_grad():
        return {"logits": run(model, batch).logits}


def fields(options: dict) -> dict:
    return {"num_labels": len(options["labels"]), "problem_type": options["problem_type"]}


TASKS = {
    "image_cls": Task(
        file="pictures.json",
        peft_type=None,
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: 1,
        slots=len,
        auto=AutoModelForImageClassification,
        fields=fields,
        head=("classifier",),
    )
}


def pictured(config=None, families=("vit",), problem: str = SINGLE, merges: bool = False, bf16: bool = False) -> Case:
    make = (lambda family: config()) if config else (lambda family: None)
    options = {"problem_type": problem, "labels": NAMES}
    return Case(make, families=families, task="image_cls", options=options, merges=merges, bf16=bf16)


def lora(**more) -> LoraConfig:
    return LoraConfig(
        **{"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"], **more}
    )


CASES = {
    "image-lora": pictured(lora, merges=True, bf16=True),
    "image-full": pictured(),
    "image-multi": pictured(lambda: lora(bias="lora_only"), problem=MULTI),
    "image-all-linear": pictured(lambda: lora(target_modules="all-linear", use_dora=True), merges=True),
    # PEFT's LoRA for a convolution
    "image-patches": pictured(lambda: lora(target_modules=["projection", "q_proj", "fc1"]), merges=True, bf16=True),
    "image-patches-dora": pictured(lambda: lora(target_modules=["projection"], use_dora=True, lora_alpha=5), merges=True),
}
