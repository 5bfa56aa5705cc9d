"""Text embeddings as in sentence-transformers: its MultipleNegativesRankingLoss on Transformers and PEFT.

    scores = scale · sim(anchors, positives and negatives);   mean cross-entropy with each anchor's own positive

Embeddings are pooled from the last hidden states of a model without a head, over the real tokens of a right-padded
batch: their mean, the first ("cls") or the last ("lasttoken"). Virtual tokens are not pooled.
"""

import measure
import torch
from families import generator
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig
from stem import Case, Task
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel

PARTS = ("anchor", "positive", "negative")


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of records of token lists. Every other record has negatives."""
    stream = generator(family, "texts")

    def draw() -> list[int]:
        length = int(torch.randint(1, 15, (1,), generator=stream))
        return torch.randint(3, vocabulary, (length,), generator=stream).tolist()

    return [[{part: draw() for part in PARTS[: 2 + number % 2]} for _ in range(5)] for number in range(count)]


def texts(batch: list[dict]) -> list[list[int]]:
    """All anchors, then all positives, then all negatives."""
    return [record[part] for part in PARTS for record in batch if part in record]


def embeddings(model, batch: list[dict], pooling: str) -> torch.Tensor:
    """Embeddings [texts, D]."""
    sequences = texts(batch)
    rows = measure.padded([{"tokens": tokens, "labels": tokens} for tokens in sequences])
    rows.pop("labels")
    mask = rows["attention_mask"]
    hidden = model(**rows).last_hidden_state[:, -mask.shape[1] :]
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        return hidden[torch.arange(len(sequences)), mask.sum(1) - 1]
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def scores(vectors: torch.Tensor, count: int, options: dict) -> torch.Tensor:
    """Scores from the embeddings of `count` records: all anchors, all positives, all negatives."""
    if options["similarity_fct"] == "cos_sim":
        vectors = normalize(vectors, dim=-1)
    return options["scale"] * vectors[:count] @ vectors[count:].T


def ranking(vectors: torch.Tensor, count: int, options: dict) -> torch.Tensor:
    return cross_entropy(scores(vectors, count, options), torch.arange(count))


def recalls(vectors: torch.Tensor, count: int, options: dict) -> dict[str, float]:
    found = scores(vectors, count, options)
    before = (found > found.diagonal()[:, None]).sum(1)
    return {f"recall_at_{k}": (before < k).double().mean().item() for k in (1, 5)}


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    return ranking(embeddings(model, batch, options["pooling_mode"]), len(batch), options)


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {"embeddings": embeddings(model, batch, options["pooling_mode"])}


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    with torch.no_grad():
        return recalls(embeddings(model, batch, options["pooling_mode"]), len(batch), options)


TASKS = {
    "feature_extraction": Task(
        file="texts.json",
        peft_type="FEATURE_EXTRACTION",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: sum(len(record[part]) for part in PARTS if part in record),
        slots=lambda batch: len(texts(batch)) * max(map(len, texts(batch))),
        auto=AutoModel,
        metrics=metrics,
    )
}


def vectors(config, families=("llama",), scale: float = 20.0, similarity: str = "cos_sim", pooling: str = "mean") -> Case:
    options = {"scale": scale, "similarity_fct": similarity, "pooling_mode": pooling}
    return Case(lambda family: config(), families=families, task="feature_extraction", options=options)


CASES = {
    "embed": vectors(lambda: LoraConfig(r=2, lora_alpha=3), families=("llama", "gpt2", "bert")),
    # A module that is saved completely, and an adapter on linear layers with full paths, which have no `model.` prefix
    # here.
    "embed-last": vectors(
        lambda: LoraConfig(
            r=2,
            lora_alpha=4,
            target_modules=["layers.0.self_attn.o_proj", "layers.1.mlp.down_proj"],
            modules_to_save=["norm"],
        ),
        scale=0.2,
        similarity="dot_score",
        pooling="lasttoken",
    ),
    "embed-prompt": vectors(lambda: PromptTuningConfig(num_virtual_tokens=3), scale=10.0, pooling="cls"),
    "embed-prefix": vectors(lambda: PrefixTuningConfig(num_virtual_tokens=2), scale=10.0),
}
