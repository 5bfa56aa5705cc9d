"""Extractive question answering with Transformers and PEFT's QUESTION_ANS.

A record is one window, run alone. PEFT does not pass token types for this task, so all of them are 0.
"""

import torch
from families import generator
from peft import LoraConfig
from stem import Case, Task
from transformers import AutoModelForQuestionAnswering


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {tokens, types, start, end}. Without an answer, both are 0."""
    stream = generator(family, "windows")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    def record(number: int) -> dict:
        length = draw(5, 20)
        start = draw(2, length) if number else 0
        tokens = torch.randint(3, vocabulary, (length,), generator=stream).tolist()
        return {"tokens": tokens, "types": [0] * length, "start": start, "end": draw(start, length) if number else 0}

    return [[record(number) for number in range(3)] for _ in range(count)]


def forward(model, record: dict, **targets):
    tokens = torch.tensor([record["tokens"]])
    return model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **targets)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    losses = [
        forward(
            model,
            record,
            start_positions=torch.tensor([record["start"]]),
            end_positions=torch.tensor([record["end"]]),
        ).loss
        for record in batch
    ]
    return torch.stack(losses).mean()


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [tokens, 2], record after record."""
    with torch.no_grad():
        found = [forward(model, record) for record in batch]
    return {"logits": torch.cat([torch.stack((each.start_logits[0], each.end_logits[0]), -1) for each in found])}


TASKS = {
    "question_ans": Task(
        file="windows.json",
        peft_type="QUESTION_ANS",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: len(record["tokens"]),
        slots=lambda batch: sum(len(record["tokens"]) for record in batch),
        auto=AutoModelForQuestionAnswering,
        head=("qa_outputs", "classifier"),
    )
}

OPTIONS = {"doc_stride": 128, "max_answer_length": 30, "version_2_with_negative": True}

CASES = {
    "span-lora": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3),
        families=("bert", "roberta"),
        task="question_ans",
        options=OPTIONS,
        merges=True,
    ),
    "span-lora-lin": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3, target_modules=["q_lin", "out_lin"]),
        families=("distilbert",),
        task="question_ans",
        options=OPTIONS,
    ),
}
