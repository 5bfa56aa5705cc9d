"""Image embeddings with the loss of stems/feature_extraction.py, on Transformers' models without a head.

An embedding is the first row of the last hidden states (the class token), the mean of all rows, or the output of
SigLIP's pooling head, because SigLIP has no class token.
"""

import torch
from families import generator
from peft import LoraConfig
from stem import Case, Task, load
from transformers import AutoModel

texts = load("feature_extraction")
image_cls = load("image_cls")

PARTS = texts.PARTS


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of records of images. Every other record has negatives."""
    stream = generator(family, "picture pairs")

    def draw() -> dict:
        number = int(torch.randint(0, 1000, (1,), generator=stream))
        return {"picture": number, "size": image_cls.SIZES.get(family, image_cls.SIZE)}

    return [[{part: draw() for part in PARTS[: 2 + number % 2]} for _ in range(4)] for number in range(count)]


def pictures(batch: list[dict]) -> list[dict]:
    """All anchors, then all positives, then all negatives."""
    return [record[part] for part in PARTS for record in batch if part in record]


def tower(model):
    """Vision tower of a model with an image and a text tower."""
    inner = model.base_model.model if hasattr(model, "peft_config") else model
    return getattr(inner, "vision_model", model)


def embeddings(model, batch: list[dict], pooling: str) -> torch.Tensor:
    """Embeddings [images, D]."""
    dtype = next(model.parameters()).dtype
    made = tower(model)(pixel_values=torch.stack([image_cls.pixels(one) for one in pictures(batch)]).to(dtype))
    if pooling == "mean":
        return made.last_hidden_state.mean(1)
    return made.pooler_output if getattr(tower(model), "use_head", False) else made.last_hidden_state[:, 0]


def loss(model, batch: list[dict], options: dict) -> torch.Tensor:
    return texts.ranking(embeddings(model, batch, options["pooling_mode"]), len(batch), options)


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {"embeddings": embeddings(model, batch, options["pooling_mode"])}


def metrics(model, batch: list[dict], options: dict) -> dict[str, float]:
    with torch.no_grad():
        return texts.recalls(embeddings(model, batch, options["pooling_mode"]), len(batch), options)


TASKS = {
    "image_feature_extraction": Task(
        file="picture-pairs.json",
        peft_type="FEATURE_EXTRACTION",
        make_batches=make_batches,
        loss=loss,
        outputs=outputs,
        tokens=lambda record: 1,
        slots=len,
        auto=AutoModel,
        metrics=metrics,
    )
}


def vectors(families, scale: float = 10.0, similarity: str = "cos_sim", pooling: str = "cls", **more) -> Case:
    options = {"scale": scale, "similarity_fct": similarity, "pooling_mode": pooling}
    config = lambda family: LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], **more})
    return Case(config, families=families, task="image_feature_extraction", options=options)


CASES = {
    "embed-pictures": vectors(("vit", "deit", "dinov2", "dinov2-registers")),
    "embed-pictures-mean": vectors(("vit", "dinov2"), scale=0.2, similarity="dot_score", pooling="mean"),
    "embed-pictures-patches": vectors(("dinov2",), target_modules=["projection", "fc1"], pooling="mean"),
    # Full paths, because Transformers' model also has a text tower.
    "embed-pictures-siglip": vectors(("siglip",), target_modules=r"vision_model\..*(q_proj|v_proj|fc1)", pooling="mean"),
    "embed-pictures-head": vectors(("siglip-head",), target_modules=r"vision_model\..*(q_proj|v_proj|fc1)"),
}
