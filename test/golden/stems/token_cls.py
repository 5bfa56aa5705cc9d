"""Token classification with Transformers and PEFT's TOKEN_CLS: a tag for each word.

Each record runs alone. The loss is the mean over the tagged tokens of the batch.
"""

import torch
from families import generator
from peft import LoraConfig
from stem import Case, Task, load
from transformers import AutoModelForTokenClassification

seq_cls = load("seq_cls")
NAMES = ["B-x", "I-x", "O", "B-y"]


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {tokens, types, tags}; -100 for tokens that are not the first of a word."""
    stream = generator(family, "tagged")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    def record() -> dict:
        length = draw(3, 14)
        tags = [draw(0, len(NAMES)) if draw(0, 3) else -100 for _ in range(length)]
        tokens = torch.randint(3, vocabulary, (length,), generator=stream).tolist()
        return {"tokens": tokens, "types": [0] * length, "tags": [0, *tags[1:]]}

    return [[record() for _ in range(3)] for _ in range(count)]


def tagged(record: dict) -> int:
    return sum(tag >= 0 for tag in record["tags"])


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    total = 0.0
    for record in batch:
        mean = model(**seq_cls.inputs(model, record), labels=torch.tensor([record["tags"]])).loss
        total = total + mean.to(torch.promote_types(mean.dtype, torch.float32)) * tagged(record)
    return total / sum(map(tagged, batch))


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [tokens, tags], record after record."""
    with torch.no_grad():
        return {"logits": torch.cat([model(**seq_cls.inputs(model, record)).logits[0] for record in batch])}


TASKS = {
    "token_cls": Task(
        file="tagged.json",
        peft_type="TOKEN_CLS",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: len(record["tokens"]),
        slots=lambda batch: sum(len(record["tokens"]) for record in batch),
        auto=AutoModelForTokenClassification,
        fields=lambda options: {"num_labels": len(options["labels"])},
        head=("classifier",),
    )
}

CASES = {
    "tag-lora": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3),
        families=("bert", "roberta"),
        task="token_cls",
        options={"labels": NAMES},
        merges=True,
    ),
    "tag-lora-lin": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3, target_modules=["k_lin", "lin2"]),
        families=("distilbert",),
        task="token_cls",
        options={"labels": NAMES},
    ),
}
