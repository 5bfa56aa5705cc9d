"""Classification of texts and text pairs with Transformers and PEFT's SEQ_CLS.

Each record runs alone, so that nothing depends on padding. The loss is the mean of Transformers' losses. Virtual tokens
come first, so an encoder's pooler reads the first of them. A case's options are the task's.
"""

import torch
from families import generator
from peft import IA3Config, LoHaConfig, LoraConfig, PromptEncoderConfig, PromptTuningConfig
from stem import Case, Task
from transformers import AutoModelForSequenceClassification

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
NAMES = ["x", "y", "z"]


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {tokens, types} with a target for each problem type. Every other record is a pair."""
    stream = generator(family, "labelled")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    def record(number: int) -> dict:
        length = draw(3, 20)
        second = draw(1, length) if number % 2 else length
        return {
            "tokens": torch.randint(3, vocabulary, (length,), generator=stream).tolist(),
            "types": [0] * second + [1] * (length - second),
            SINGLE: draw(0, len(NAMES)),
            MULTI: [draw(0, 2) for _ in NAMES],
            REGRESSION: draw(-20, 21) / 10,
        }

    return [[record(number) for number in range(4)] for _ in range(count)]


def inputs(model, record: dict) -> dict[str, torch.Tensor]:
    tokens = torch.tensor([record["tokens"]])
    rows = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        rows["token_type_ids"] = torch.tensor([record["types"]])
    return rows


def target(model, record: dict, problem: str) -> torch.Tensor:
    if problem == SINGLE:
        return torch.tensor([record[problem]])
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    return torch.tensor([record[problem]], dtype=dtype)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    problem = options["problem_type"]
    losses = [model(**inputs(model, record), labels=target(model, record, problem)).loss for record in batch]
    return torch.stack([each.to(torch.promote_types(each.dtype, torch.float32)) for each in losses]).mean()


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [records, labels]."""
    with torch.no_grad():
        return {"logits": torch.cat([model(**inputs(model, record)).logits for record in batch])}


def fields(options: dict) -> dict:
    return {"num_labels": len(options["labels"] or [0]), "problem_type": options["problem_type"]}


TASKS = {
    "seq_cls": Task(
        file="labelled.json",
        peft_type="SEQ_CLS",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: len(record["tokens"]),
        slots=lambda batch: sum(len(record["tokens"]) for record in batch),
        auto=AutoModelForSequenceClassification,
        fields=fields,
        head=("classifier", "score", "pre_classifier"),
    )
}


def labelled(config=None, families=("bert",), problem: str = SINGLE, merges: bool = False, bf16: bool = False) -> Case:
    options = {"problem_type": problem, "labels": None if problem == REGRESSION else NAMES}
    make = (lambda family: config()) if config else (lambda family: None)
    return Case(make, families=families, task="seq_cls", options=options, merges=merges, bf16=bf16)


def lora(**more) -> LoraConfig:
    return LoraConfig(**{"r": 2, "lora_alpha": 3, **more})


CASES = {
    "cls-lora": labelled(lora, families=("bert", "llama", "gpt2"), merges=True, bf16=True),
    "cls-multi": labelled(lora, problem=MULTI),
    "cls-regression": labelled(lora, problem=REGRESSION),
    # The pooler counts as a linear layer; the head does not.
    "cls-all-linear": labelled(lambda: lora(target_modules="all-linear", use_dora=True), merges=True),
    "cls-saved-pooler": labelled(lambda: lora(modules_to_save=["pooler"], bias="lora_only")),
    "cls-ia3": labelled(IA3Config, merges=True),
    "cls-loha": labelled(lambda: LoHaConfig(r=2, alpha=6), merges=True),
    "cls-prompt": labelled(lambda: PromptTuningConfig(num_virtual_tokens=3), families=("bert", "llama")),
    "cls-p-tuning": labelled(lambda: PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=8)),
    "cls-full": labelled(),
}
