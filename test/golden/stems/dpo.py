"""Direct preference optimization, arXiv:2305.18290, as in TRL's DPOTrainer, on Transformers and PEFT.

    h = (log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))
    sigmoid: loss = -(1 - label_smoothing) · log σ(beta · h) - label_smoothing · log σ(-beta · h),   mean over pairs
    hinge: loss = max(0, 1 - beta · h)
    ipo: loss = (h - 1 / (2 · beta))², with each of h's two parts divided by the tokens of its completion

log p is a sum over the tokens of a completion; the prompt is not supervised. The reference is the same model with its
adapter disabled. A reward is beta · (log p - log p_ref), the margin is chosen minus rejected, and a pair is accurate
if its margin is above 0. Smoothing is that of conservative DPO. TRL's "sigmoid" had it before version 1, which has
label_smoothing in "robust" only, with another formula.
"""

import measure
import torch
from families import generator
from peft import LoraConfig, PromptTuningConfig
from stem import Case, Task
from torch.nn.functional import logsigmoid


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {prompt, chosen, rejected}. Either answer may be the longer one, or have one token."""
    stream = generator(family, "pairs")

    def draw(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=stream))
        return torch.randint(3, vocabulary, (length,), generator=stream).tolist()

    return [[{"prompt": draw(1, 11), "chosen": draw(1, 13), "rejected": draw(1, 13)} for _ in range(4)] for _ in range(count)]


def sequences(pair: dict) -> list[list[int]]:
    return [pair["prompt"] + pair[kind] for kind in ("chosen", "rejected")]


def log_probabilities(model, batch: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities of the chosen and of the rejected completions, [pairs] each."""
    rows = measure.padded(
        [
            {"tokens": pair["prompt"] + pair[kind], "labels": [-100] * len(pair["prompt"]) + pair[kind]}
            for kind in ("chosen", "rejected")
            for pair in batch
        ]
    )
    labels = rows.pop("labels")
    logits = model(**rows).logits[:, -labels.shape[1] :]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    supervised = labels[:, 1:] != -100
    picked = logits[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
    sums = torch.where(supervised, picked, 0.0).sum(-1)
    return sums[: len(batch)], sums[len(batch) :]


def reference(model, batch: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad(), model.disable_adapter():
        return log_probabilities(model, batch)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    ratios = [log_p - log_p_ref for log_p, log_p_ref in zip(log_probabilities(model, batch), reference(model, batch))]
    beta, smoothing, kind = options["beta"], options["label_smoothing"], options.get("loss_type", "sigmoid")
    if kind == "ipo":
        lengths = [torch.tensor([len(pair[answer]) for pair in batch]) for answer in ("chosen", "rejected")]
        chosen, rejected = (ratio / length for ratio, length in zip(ratios, lengths))
        return ((chosen - rejected - 1 / (2 * beta)) ** 2).mean()
    scaled = beta * (ratios[0] - ratios[1])
    if kind == "hinge":
        return torch.relu(1 - scaled).mean()
    return (-(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)).mean()


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Log probabilities, those of the reference, and rewards, [pairs] each."""
    with torch.no_grad():
        policy = log_probabilities(model, batch)
    found = {}
    for kind, log_p, log_p_ref in zip(("chosen", "rejected"), policy, reference(model, batch)):
        found |= {
            f"{kind}_log_probabilities": log_p,
            f"reference_{kind}_log_probabilities": log_p_ref,
            f"{kind}_rewards": options["beta"] * (log_p - log_p_ref),
        }
    return found


def means(found: dict[str, torch.Tensor]) -> dict[str, float]:
    """Mean rewards over the pairs."""
    margins = found["chosen_rewards"] - found["rejected_rewards"]
    return {
        "chosen_reward": found["chosen_rewards"].mean().item(),
        "rejected_reward": found["rejected_rewards"].mean().item(),
        "margin": margins.mean().item(),
        "accuracy": (margins > 0).double().mean().item(),
    }


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    return means(outputs(model, batch, options))


TASKS = {
    "dpo": Task(
        file="pairs.json",
        peft_type="CAUSAL_LM",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda pair: sum(map(len, sequences(pair))),
        slots=lambda batch: 2 * len(batch) * max(len(tokens) for pair in batch for tokens in sequences(pair)),
        metrics=metrics,
    )
}


def preference(config, families: tuple[str, ...] = ("llama",), beta: float = 0.1, label_smoothing: float = 0.0, **more) -> Case:
    options = {"beta": beta, "label_smoothing": label_smoothing, **more}
    return Case(lambda family: config(), families=families, task="dpo", options=options)


CASES = {
    "dpo": preference(lambda: LoraConfig(r=4, lora_alpha=6), families=("llama", "gpt2")),
    "dpo-smoothed": preference(lambda: LoraConfig(r=2, lora_alpha=4, target_modules="all-linear"), beta=0.4, label_smoothing=0.1),
    "dpo-prompt": preference(lambda: PromptTuningConfig(num_virtual_tokens=3), beta=0.2),
    # margins exceed 1 during the trajectory
    "dpo-hinge": preference(lambda: LoraConfig(r=2, lora_alpha=4), beta=0.2, loss_type="hinge"),
    "dpo-ipo": preference(lambda: LoraConfig(r=2, lora_alpha=4), beta=0.3, loss_type="ipo"),
}
