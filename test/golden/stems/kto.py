"""Kahneman-Tversky optimization, arXiv:2402.01306, as in TRL's KTOTrainer, on Transformers and PEFT.

    l(y|x) = log p(y|x) - log p_ref(y|x)
    kl = max(0, mean of l(y of the previous record | x)), without gradients; the first record takes the last one's y
    good: loss = desirable_weight · (1 - σ(beta · (l - kl)))
    bad:  loss = undesirable_weight · (1 - σ(beta · (kl - l))),   mean over the records

log p is a sum over the tokens of a completion; the reference is the same model with its adapter disabled. A reward is
beta · l. The margin is the mean of good records minus the mean of bad ones.
"""

import torch
from families import generator
from peft import LoraConfig, PromptTuningConfig
from stem import Case, Task, load

dpo = load("dpo")


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {prompt, completion, label}. Each has both labels."""
    stream = generator(family, "judged")

    def draw(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=stream))
        return torch.randint(3, vocabulary, (length,), generator=stream).tolist()

    return [
        [{"prompt": draw(1, 11), "completion": draw(1, 13), "label": i in ((0, 2), (1,), (0, 1, 3), (2, 3))[batch]} for i in range(4)]
        for batch in range(count)
    ]


def as_pairs(batch: list[dict]) -> list[dict]:
    """Each prompt with its own completion as the chosen one, and with that of the previous record."""
    return [
        {"prompt": record["prompt"], "chosen": record["completion"], "rejected": batch[i - 1]["completion"]}
        for i, record in enumerate(batch)
    ]


def ratios(model, batch: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """l of the completions [records], and kl."""
    pairs = as_pairs(batch)
    own, other = (log_p - log_p_ref for log_p, log_p_ref in zip(dpo.log_probabilities(model, pairs), dpo.reference(model, pairs)))
    return own, other.mean().detach().clamp(min=0)


def goods(batch: list[dict]) -> torch.Tensor:
    return torch.tensor([record["label"] for record in batch])


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    ratio, kl = ratios(model, batch)
    good = options["desirable_weight"] * (1 - torch.sigmoid(options["beta"] * (ratio - kl)))
    bad = options["undesirable_weight"] * (1 - torch.sigmoid(options["beta"] * (kl - ratio)))
    return torch.where(goods(batch), good, bad).mean()


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Log probabilities and rewards, [records] each, and kl."""
    with torch.no_grad():
        log_p, _ = dpo.log_probabilities(model, as_pairs(batch))
        ratio, kl = ratios(model, batch)
    return {"log_probabilities": log_p, "rewards": options["beta"] * ratio, "kl": kl}


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    found, good = outputs(model, batch, options), goods(batch)
    chosen, rejected = (found["rewards"][kind].mean().item() for kind in (good, ~good))
    return {"rewards_chosen": chosen, "rewards_rejected": rejected, "rewards_margin": chosen - rejected, "kl": found["kl"].item()}


def length(record: dict) -> int:
    return len(record["prompt"]) + len(record["completion"])


TASKS = {
    "kto": Task(
        file="judged.json",
        peft_type="CAUSAL_LM",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=length,
        slots=lambda batch: len(batch) * max(map(length, batch)),
        metrics=metrics,
    )
}


def judged(config, beta: float, desirable_weight: float = 1.0, undesirable_weight: float = 1.0) -> Case:
    options = {"beta": beta, "desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight}
    return Case(lambda family: config(), families=("llama",), task="kto", options=options)


CASES = {
    "kto": judged(lambda: LoraConfig(r=2, lora_alpha=4), beta=0.2),
    "kto-weighted": judged(lambda: LoraConfig(r=2, lora_alpha=4), beta=0.5, desirable_weight=0.7, undesirable_weight=1.6),
    "kto-prompt": judged(lambda: PromptTuningConfig(num_virtual_tokens=3), beta=0.3),
}
