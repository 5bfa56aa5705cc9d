"""Contrastive preference optimization, arXiv:2401.08417, and SimPO, arXiv:2405.14734, as in TRL's CPOTrainer.

    s = log p(completion); for loss_type "simpo" and "ipo" divided by its number of tokens
    h = s(chosen) - s(rejected)
    sigmoid: f = -(1 - label_smoothing) · log σ(beta · h) - label_smoothing · log σ(-beta · h)
    simpo: the same with h - simpo_gamma / beta instead of h
    hinge: f = max(0, 1 - beta · h)
    ipo: f = (h - 1 / (2 · beta))²
    loss = mean of f + cpo_alpha · nll

nll is the mean over the tokens of the chosen completions. A reward is beta · s. TRL's trainer fails with virtual
tokens,
because its labels have no positions for them. Here the last positions are used, as for DPO. The pairs are DPO's
(stems/dpo.py).
"""

import torch
from peft import LoraConfig, PromptTuningConfig
from stem import Case, Task, load
from torch.nn.functional import logsigmoid

dpo, orpo = load("dpo"), load("orpo")


def scores(model, batch: list[dict], options: dict):
    by_token = options["loss_type"] in ("simpo", "ipo")
    return (orpo.mean_log_probabilities if by_token else dpo.log_probabilities)(model, batch)


def of_pairs(h: torch.Tensor, options: dict) -> torch.Tensor:
    beta, smoothing, kind = options["beta"], options["label_smoothing"], options["loss_type"]
    if kind == "hinge":
        return torch.relu(1 - beta * h)
    if kind == "ipo":
        return (h - 1 / (2 * beta)) ** 2
    if kind == "simpo":
        h = h - options["simpo_gamma"] / beta
    return -(1 - smoothing) * logsigmoid(beta * h) - smoothing * logsigmoid(-beta * h)


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    chosen, rejected = scores(model, batch, options)
    found = of_pairs(chosen - rejected, options).mean()
    if options["cpo_alpha"] == 0:
        return found
    return found + options["cpo_alpha"] * orpo.nll(model, batch, prompts=False)


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Log probabilities (per token if the loss uses those) and rewards, each [pairs]."""
    with torch.no_grad():
        found = scores(model, batch, options)
    return {
        name: tensor
        for kind, log_p in zip(("chosen", "rejected"), found)
        for name, tensor in ((f"{kind}_log_probabilities", log_p), (f"{kind}_rewards", options["beta"] * log_p))
    }


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    found = outputs(model, batch, options)
    with torch.no_grad():
        return {**dpo.means(found), "nll": orpo.nll(model, batch, prompts=False).item()}


TASKS = {
    "cpo": Task(
        file="pairs.json",
        peft_type="CAUSAL_LM",
        make_batches=dpo.make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda pair: sum(map(len, dpo.sequences(pair))),
        slots=orpo.slots,
        metrics=metrics,
    )
}


def preference(config, loss_type: str, beta: float, cpo_alpha: float, simpo_gamma: float = 0.5, label_smoothing: float = 0.0) -> Case:
    options = {
        "beta": beta,
        "loss_type": loss_type,
        "cpo_alpha": cpo_alpha,
        "simpo_gamma": simpo_gamma,
        "label_smoothing": label_smoothing,
    }
    return Case(lambda family: config(), families=("llama",), task="cpo", options=options)


def small() -> LoraConfig:
    return LoraConfig(r=2, lora_alpha=4)


CASES = {
    "cpo": preference(small, "sigmoid", beta=0.1, cpo_alpha=1.0, label_smoothing=0.1),
    "cpo-hinge": preference(small, "hinge", beta=0.1, cpo_alpha=0.5),
    "cpo-ipo": preference(small, "ipo", beta=0.5, cpo_alpha=0.0),
    "simpo": preference(small, "simpo", beta=2.0, cpo_alpha=0.0, simpo_gamma=1.0),
    "simpo-prompt": preference(lambda: PromptTuningConfig(num_virtual_tokens=3), "simpo", beta=2.5, cpo_alpha=0.3),
}
