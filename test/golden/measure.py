"""What is measured of a model: logits, loss, gradients, a short training run, a greedy continuation."""

import types

import torch
from transformers import get_linear_schedule_with_warmup

TRAINING = {
    "steps": 20,
    "learning_rate": 1e-2,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "warmup_steps": 2,
    "schedule": "linear",
}


def padded(batch: list[dict]) -> dict[str, torch.Tensor]:
    """Right-padded ids, mask and labels [B, S], as a Hugging Face collator makes them."""
    longest = max(len(sequence["tokens"]) for sequence in batch)

    def rows(make, fill: int) -> torch.Tensor:
        return torch.tensor([make(s) + [fill] * (longest - len(s["tokens"])) for s in batch])

    return {
        "input_ids": rows(lambda s: list(s["tokens"]), 0),
        "attention_mask": rows(lambda s: [1] * len(s["tokens"]), 0),
        "labels": rows(lambda s: list(s["labels"]), -100),
    }


def real_logits(model, batch: list[dict]) -> torch.Tensor:
    """Logits [T, V] at the real positions, in sequence order; rows of virtual tokens are left out."""
    with torch.no_grad():
        rows = model(**{k: v for k, v in padded(batch).items() if k != "labels"}).logits
    longest = max(len(sequence["tokens"]) for sequence in batch)
    rows = rows[:, rows.shape[1] - longest :]
    return torch.cat([row[: len(sequence["tokens"])] for row, sequence in zip(rows, batch)])


def in_double(model):
    """The same model in double precision throughout: transformers' RMSNorm and loss would go through f32."""

    def norm(self, hidden):
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def loss(logits, labels, **_):
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    model = model.double()
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm, module)
        if type(module).__name__.endswith(("ForCausalLM", "LMHeadModel")) and "Peft" not in type(module).__name__:
            module.loss_function = loss
    return model


def trainables(model) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def copies(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone().contiguous() for name, p in trainables(model).items()}


def restore(model, tensors: dict[str, torch.Tensor]) -> None:
    """Puts stored trainables back; the names must be exactly the model's."""
    ours = trainables(model)
    if ours.keys() != tensors.keys():
        raise ValueError(f"names differ: {sorted(ours.keys() ^ tensors.keys())}")
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(tensors[name])


def loss_and_gradients(model, batch: list[dict]) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean loss over the supervised tokens of the batch, and its gradient by parameter name."""
    model.zero_grad(set_to_none=True)
    loss = model(**padded(batch)).loss
    loss.backward()
    gradients = {name: p.grad.detach().clone().contiguous() for name, p in trainables(model).items()}
    model.zero_grad(set_to_none=True)
    return loss.item(), gradients


def train(model, batches: list[list[dict]], settings: dict = TRAINING) -> dict[str, list[float]]:
    """AdamW on all trainables in one group (weight decay on every one), batches in turn."""
    parameters = list(trainables(model).values())
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    schedule = get_linear_schedule_with_warmup(optimizer, settings["warmup_steps"], settings["steps"])
    history = {"losses": [], "grad_norms": [], "learning_rates": []}
    for step in range(settings["steps"]):
        optimizer.zero_grad()
        loss = model(**padded(batches[step % len(batches)])).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings["max_grad_norm"])
        history["losses"].append(loss.item())
        history["grad_norms"].append(norm.item())
        history["learning_rates"].append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return history


def greedy(model, prompt: list[int], count: int) -> dict:
    """Continues by whole forwards: `generate` of this pair of versions mishandles prompts and prefixes."""
    tokens, margin = list(prompt), float("inf")
    for _ in range(count):
        sequence = [{"tokens": tokens, "labels": tokens}]
        best = real_logits(model, sequence)[-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        tokens.append(int(best.indices[0]))
    return {"prompt": prompt, "tokens": tokens[len(prompt) :], "smallest_margin": margin}
