"""Sequence-to-sequence language modeling: Transformers' encoder–decoders with `labels`. All target tokens are
supervised.

The model adds the start token before a target. Sources and targets end with `</s>`.
"""

import measure
import torch
from families import generator
from stem import Task

END = 1
SOURCE = [5, 17, 42, 8, 23, 61, 12, END]


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {source, target}. Either may be the longer one."""
    stream = generator(family, "batches")

    def draw(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=stream))
        return [*torch.randint(3, vocabulary, (length,), generator=stream).tolist(), END]

    return [[{"source": draw(1, 30), "target": draw(1, 14)} for _ in range(4)] for _ in range(count)]


def inputs(batch: list[dict]) -> dict[str, torch.Tensor]:
    sources = measure.padded([{"tokens": pair["source"], "labels": pair["source"]} for pair in batch])
    targets = measure.padded([{"tokens": pair["target"], "labels": pair["target"]} for pair in batch])
    return {"input_ids": sources["input_ids"], "attention_mask": sources["attention_mask"], "labels": targets["labels"]}


def real_rows(rows: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Rows of the sequences, in order, without virtual tokens on the left and padding on the right."""
    rows = rows[:, rows.shape[1] - max(lengths) :]
    return torch.cat([row[:length] for row, length in zip(rows, lengths)])


def forward(model, batch: list[dict]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        out = model(**inputs(batch), output_hidden_states=True)
    targets = [len(pair["target"]) for pair in batch]
    return {
        "logits": real_rows(out.logits, targets),
        "encoder": real_rows(out.encoder_last_hidden_state, [len(pair["source"]) for pair in batch]),
        "decoder": real_rows(out.decoder_hidden_states[-1], targets),
    }


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [target rows, V], and the last hidden states of both stacks after their final norms."""
    together = forward(model, batch)
    alone = [forward(model, [pair]) for pair in batch]
    for name, rows in together.items():
        apart = (torch.cat([each[name] for each in alone]) - rows).abs().max() / rows.abs().max()
        assert apart < 1e-5, f"padding changes {name} by {apart}"
    return together


def greedy(model, count: int = 12) -> dict:
    """Continues with full forward passes from the start token, past `</s>`."""
    tokens, margin = [], float("inf")
    for _ in range(count):
        # The row of the last target token is predicted from the previous tokens.
        best = forward(model, [{"source": SOURCE, "target": [*tokens, END]}])["logits"][-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        tokens.append(int(best.indices[0]))
    return {"prompt": SOURCE, "tokens": tokens, "smallest_margin": margin}


TASKS = {
    "seq_2_seq_lm": Task(
        file="batches.json",
        peft_type="SEQ_2_SEQ_LM",
        make_batches=make_batches,
        loss=lambda model, batch, options: model(**inputs(batch)).loss,
        outputs=outputs,
        tokens=lambda pair: len(pair["source"]) + len(pair["target"]),
        slots=lambda batch: sum(len(batch) * max(len(pair[part]) for pair in batch) for part in ("source", "target")),
        greedy=greedy,
    )
}
