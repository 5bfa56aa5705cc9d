"""Odds ratio preference optimization, arXiv:2403.07691, as in TRL's ORPOTrainer, on Transformers and PEFT.

    p = log p(completion) / its number of tokens
    odds = p(chosen) - p(rejected) - (log(1 - exp p(chosen)) - log(1 - exp p(rejected)))
    loss = nll - beta · mean of log σ(odds)

nll is the mean over all tokens of the chosen texts, prompts included, except for each text's first token. A reward is
beta · p. TRL's trainer fails with virtual tokens, because its labels have no positions for them. Here the last
positions are used, as for DPO. The pairs are DPO's (stems/dpo.py).
"""

import measure
import torch
from peft import LoraConfig, PromptTuningConfig
from stem import Case, Task, load
from torch.nn.functional import logsigmoid

dpo = load("dpo")


def mean_log_probabilities(model, batch: list[dict]) -> list[torch.Tensor]:
    """Mean log probabilities per token of the chosen and of the rejected completions, [pairs] each."""
    return [
        sums / torch.tensor([len(pair[kind]) for pair in batch])
        for kind, sums in zip(("chosen", "rejected"), dpo.log_probabilities(model, batch))
    ]


def nll(model, batch: list[dict], prompts: bool) -> torch.Tensor:
    """Mean of -log p over the tokens of the chosen completions, and with `prompts` of their prompts."""
    rows = measure.padded(
        [
            {
                "tokens": pair["prompt"] + pair["chosen"],
                "labels": (pair["prompt"] if prompts else [-100] * len(pair["prompt"])) + pair["chosen"],
            }
            for pair in batch
        ]
    )
    labels = rows.pop("labels")
    logits = model(**rows).logits[:, -labels.shape[1] :]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    chosen, rejected = mean_log_probabilities(model, batch)
    odds = (chosen - rejected) - (torch.log1p(-torch.exp(chosen)) - torch.log1p(-torch.exp(rejected)))
    return nll(model, batch, prompts=True) - options["beta"] * logsigmoid(odds).mean()


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Log probabilities per token and rewards, [pairs] each."""
    with torch.no_grad():
        found = mean_log_probabilities(model, batch)
    return {
        name: tensor
        for kind, log_p in zip(("chosen", "rejected"), found)
        for name, tensor in ((f"{kind}_log_probabilities", log_p), (f"{kind}_rewards", options["beta"] * log_p))
    }


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    found = outputs(model, batch, options)
    with torch.no_grad():
        return {**dpo.means(found), "nll": nll(model, batch, prompts=True).item()}


def slots(batch: list[dict]) -> int:
    return 2 * len(batch) * max(len(tokens) for pair in batch for tokens in dpo.sequences(pair))


TASKS = {
    "orpo": Task(
        file="pairs.json",
        peft_type="CAUSAL_LM",
        make_batches=dpo.make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda pair: sum(map(len, dpo.sequences(pair))),
        slots=slots,
        metrics=metrics,
    )
}


def preference(config, beta: float) -> Case:
    return Case(lambda family: config(), families=("llama",), task="orpo", options={"beta": beta})


CASES = {
    "orpo": preference(lambda: LoraConfig(r=2, lora_alpha=4), beta=0.5),
    "orpo-prompt": preference(lambda: PromptTuningConfig(num_virtual_tokens=3), beta=1.0),
}
