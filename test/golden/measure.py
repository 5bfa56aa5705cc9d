"""Measurements of a model: logits, loss, gradients, a short training run, a greedy continuation."""

import types

import torch
from transformers import AttentionInterface, AttentionMaskInterface, get_linear_schedule_with_warmup
from transformers.masking_utils import eager_mask

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
    """Right-padded ids, mask and labels [B, S], as from a Hugging Face collator."""
    longest = max(len(sequence["tokens"]) for sequence in batch)

    def rows(make, fill: int) -> torch.Tensor:
        return torch.tensor([make(s) + [fill] * (longest - len(s["tokens"])) for s in batch])

    return {
        "input_ids": rows(lambda s: list(s["tokens"]), 0),
        "attention_mask": rows(lambda s: [1] * len(s["tokens"]), 0),
        "labels": rows(lambda s: list(s["labels"]), -100),
    }


def tasks_of(model, batch: list[dict]) -> dict[str, torch.Tensor]:
    """Task ids of a batch's sequences, cycling through the tasks, for adapters with a prompt per task."""
    config = getattr(model, "peft_config", {}).get("default")
    tasks = getattr(config, "num_tasks", getattr(config, "n_tasks", None))
    return {} if tasks is None else {"task_ids": torch.arange(len(batch)) % tasks}


def real_logits(model, batch: list[dict]) -> torch.Tensor:
    """Logits [T, V] at the real positions, in sequence order, without the rows of virtual tokens."""
    with torch.no_grad():
        rows = model(**{k: v for k, v in padded(batch).items() if k != "labels"}, **tasks_of(model, batch)).logits
    longest = max(len(sequence["tokens"]) for sequence in batch)
    rows = rows[:, rows.shape[1] - longest :]
    return torch.cat([row[: len(sequence["tokens"])] for row, sequence in zip(rows, batch)])


def in_double(model):
    """Converts a model to double precision. Replaces Transformers' RMSNorm and loss, which would compute in f32."""

    def norm(self, hidden):
        gemma = type(self).__name__.startswith("Gemma")
        weight, eps = (1 + self.weight, self.eps) if gemma else (self.weight, self.variance_epsilon)
        return weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + eps)

    def loss(logits, labels, *_, **__):
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    unpack(model)
    model = model.double()
    for module in model.modules():
        # AdaMSS stores the dtype to which it casts
        if "dtype" in vars(module):
            module.dtype = torch.float64
        if type(module).__name__.endswith(("RMSNorm", "T5LayerNorm")):
            module.forward = types.MethodType(norm, module)
        if (config := getattr(module, "config", None)) and getattr(config, "_attn_implementation", None) == "eager":
            config._attn_implementation = wide_attention()
        if type(module).__name__.endswith(("ForCausalLM", "LMHeadModel")) and "Peft" not in type(module).__name__:
            module.loss_function = loss
    return model


def wide_attention() -> str:
    """Registers Transformers' eager attention without its softmax in f32, which the mask's f64 values overflow."""

    def attend(module, query, key, value, mask, scaling, softcap=None, **_):
        groups = module.num_key_value_groups
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = query @ key.transpose(2, 3) * scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register("wide", attend)
    AttentionMaskInterface.register("wide", eager_mask)
    return "wide"


def unpack(model) -> None:
    """Replaces 4-bit layers by plain ones with the same values, because 4-bit products do not support double precision.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if (state := getattr(getattr(child, "weight", None), "quant_state", None)) is None or hasattr(child, "base_layer"):
                continue
            from bitsandbytes.functional import dequantize_4bit

            plain = torch.nn.Linear(child.in_features, child.out_features, bias=child.bias is not None).requires_grad_(False)
            plain.weight.data = dequantize_4bit(child.weight.data, state)
            if child.bias is not None:
                plain.bias.data = child.bias.data
            setattr(module, name, plain)


def trainables(model) -> dict[str, torch.nn.Parameter]:
    # On a base in half precision, PEFT trains AdaLoRA's count of ranks by mistake; it is not a parameter.
    return {name: p for name, p in model.named_parameters() if p.requires_grad and ".ranknum." not in name}


def copies(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone().contiguous() for name, p in trainables(model).items()}


def restore(model, tensors: dict[str, torch.Tensor]) -> None:
    """Restores stored trainable parameters. The names must equal the model's."""
    ours = trainables(model)
    if ours.keys() != tensors.keys():
        raise ValueError(f"names differ: {sorted(ours.keys() ^ tensors.keys())}")
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(tensors[name])


def mean_loss(model, batch: list[dict]) -> torch.Tensor:
    """Mean loss over the supervised tokens of the batch."""
    return model(**padded(batch), **tasks_of(model, batch)).loss


def loss_and_gradients(model, batch: list[dict], loss_of=mean_loss) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of the batch, and gradients by parameter name. Parameters that the loss does not depend on have none."""
    model.zero_grad(set_to_none=True)
    loss = loss_of(model, batch)
    loss.backward()
    seen = {name: p.grad for name, p in trainables(model).items() if p.grad is not None}
    gradients = {name: grad.detach().clone().contiguous() for name, grad in seen.items()}
    model.zero_grad(set_to_none=True)
    return loss.item(), gradients


def adamw(model, settings: dict) -> torch.optim.Optimizer:
    """AdamW with all trainable parameters in one group, all with weight decay."""
    return torch.optim.AdamW(
        list(trainables(model).values()),
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )


def train(
    model, batches: list[list[dict]], settings: dict = TRAINING, loss_of=mean_loss, watch=None, optimizer_of=None
) -> dict[str, list]:
    """Trains with AdamW or another optimizer, cycling through the batches.

    `watch` returns additional metrics of a step, computed before its update.
    """
    optimizer = (optimizer_of or adamw)(model, settings)
    parameters = list(trainables(model).values())
    schedule = get_linear_schedule_with_warmup(optimizer, settings["warmup_steps"], settings["steps"])
    # for AdaLoRA's rank budget, and for AdaMSS' cluster budget, whose callback counts steps from 0
    allocate = getattr(getattr(model, "base_model", None), "update_and_allocate", None)
    counted = 0 if getattr(getattr(model, "base_model", None), "prefix", None) == "adamss_" else 1
    history = {"losses": [], "grad_norms": [], "learning_rates": [], **({"metrics": []} if watch else {})}
    for step in range(settings["steps"]):
        optimizer.zero_grad()
        batch = batches[step % len(batches)]
        if watch:
            history["metrics"].append(watch(model, batch))
        loss = loss_of(model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings["max_grad_norm"])
        history["losses"].append(loss.item())
        history["grad_norms"].append(norm.item())
        history["learning_rates"].append(schedule.get_last_lr()[0])
        optimizer.step()
        if allocate:
            allocate(step + counted)
        schedule.step()
    return history


def greedy(model, prompt: list[int], count: int) -> dict:
    """Continues with full forward passes, because `generate` of these versions mishandles prompts and prefixes."""
    tokens, margin = list(prompt), float("inf")
    for _ in range(count):
        sequence = [{"tokens": tokens, "labels": tokens}]
        best = real_logits(model, sequence)[-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        tokens.append(int(best.indices[0]))
    return {"prompt": prompt, "tokens": tokens[len(prompt) :], "smallest_margin": margin}
