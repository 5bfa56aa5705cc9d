"""Speech recognition: Transformers' encoder–decoders on spectrograms with `labels`. PEFT has no task_type for them.

Spectrograms are generated from a number, as images are (image_cls.py), so that no file contains them.
"""

import torch
from families import generator
from measure import padded
from peft import LoraConfig
from stem import Case, Task, load
from transformers import AutoModelForSpeechSeq2Seq

END = 1
SIZE = [6, 20]
pixels = load("image_cls").pixels
real_rows = load("seq_2_seq_lm").real_rows


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    stream = generator(family, "sounds")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    def record() -> dict:
        target = [*(draw(3, vocabulary) for _ in range(draw(1, 12))), END]
        return {"picture": draw(0, 1000), "size": SIZE, "target": target}

    return [[record() for _ in range(3)] for _ in range(count)]


def inputs(model, batch: list[dict]) -> dict[str, torch.Tensor]:
    features = torch.stack([pixels(record) for record in batch]).to(next(model.parameters()).dtype)
    targets = padded([{"tokens": record["target"], "labels": record["target"]} for record in batch])
    return {"input_features": features, "labels": targets["labels"]}


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [target rows, V], and the last hidden states of both stacks after their final norms."""
    with torch.no_grad():
        out = model(**inputs(model, batch), output_hidden_states=True)
    targets = [len(record["target"]) for record in batch]
    return {
        "logits": real_rows(out.logits, targets),
        "encoder": out.encoder_last_hidden_state.flatten(0, 1),
        "decoder": real_rows(out.decoder_hidden_states[-1], targets),
    }


def greedy(model, count: int = 12) -> dict:
    """Continues with full forward passes from the start token, past the end token."""
    tokens, margin = [], float("inf")
    for _ in range(count):
        record = {"picture": 7, "size": SIZE, "target": [*tokens, END]}
        best = outputs(model, [record], {})["logits"][-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        tokens.append(int(best.indices[0]))
    return {"picture": 7, "size": SIZE, "tokens": tokens, "smallest_margin": margin}


TASKS = {
    "speech_seq_2_seq": Task(
        file="sounds.json",
        peft_type=None,
        make_batches=make_batches,
        loss=lambda model, batch, options: model(**inputs(model, batch)).loss,
        outputs=outputs,
        tokens=lambda record: len(record["target"]),
        slots=lambda batch: len(batch) * max(len(record["target"]) for record in batch),
        greedy=greedy,
        auto=AutoModelForSpeechSeq2Seq,
    )
}


def spoken(config=None, **more) -> Case:
    make = (lambda family: config()) if config else (lambda family: None)
    return Case(make, families=("whisper",), task="speech_seq_2_seq", **more)


def lora(**more) -> LoraConfig:
    return LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], **more})


# Without conv1 and conv2: Transformers reads their stride, which PEFT's LoRA layer does not have.
CASES = {
    "speech-none": spoken(trains=False, greedy=True),
    "speech-full": spoken(),
    "speech-lora": spoken(lora, merges=True, greedy=True, bf16=True),
    "speech-all-linear": spoken(lambda: lora(target_modules="all-linear", use_dora=True, bias="all"), merges=True),
}
