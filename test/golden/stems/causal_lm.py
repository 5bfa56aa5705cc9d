"""Causal language modeling: Transformers' models with `labels`."""

import measure
import torch
from families import generator
from stem import Case, Task

GREEDY_PROMPT = [5, 17, 42, 8, 23]


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {tokens, labels}. Labels follow the Hugging Face convention: unshifted, -100 where unsupervised.

    Sequences alternate between full supervision, supervision after a prompt, and two supervised spans.
    """
    stream = generator(family, "batches")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    batches = []
    for _ in range(count):
        batch = []
        for kind in range(4):
            length = draw(5, 25)
            tokens = torch.randint(3, vocabulary, (length,), generator=stream).tolist()
            labels = list(tokens)
            if kind % 3 == 1:
                cut = draw(1, length - 1)
                labels[:cut] = [-100] * cut
            if kind % 3 == 2:
                cut = draw(1, length - 3)
                labels[cut : cut + 2] = [-100, -100]
                labels[0] = -100
            batch.append({"tokens": tokens, "labels": labels})
        batches.append(batch)
    return batches


TASKS = {
    "causal_lm": Task(
        file="batches.json",
        peft_type="CAUSAL_LM",
        make_batches=make_batches,
        loss=lambda model, batch, options: measure.mean_loss(model, batch),
        outputs=lambda model, batch, options: {"logits": measure.real_logits(model, batch)},
        tokens=lambda sequence: len(sequence["tokens"]),
        slots=lambda batch: len(batch) * max(len(sequence["tokens"]) for sequence in batch),
        greedy=lambda model: measure.greedy(model, GREEDY_PROMPT, 12),
    )
}

CASES = {
    # The bare base and full fine-tuning, which have no adapter files.
    "none": Case(trains=False, greedy=True),
    "full": Case(),
}
