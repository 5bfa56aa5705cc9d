"""SigLIP's vision tower, from a model with an image and a text tower. It only accepts square images."""

from stem import Family, load
from transformers import SiglipConfig

image_cls = load("image_cls")

VISION = dict(
    image_size=14,
    patch_size=4,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    attention_dropout=0.0,
    # The pooling head is not used for classification.
    vision_use_head=False,
)


def family(**more) -> Family:
    return Family(
        lambda: SiglipConfig(vision_config={**VISION, **more}, text_config=dict(VISION, vocab_size=40)),
        cases=(),
        task="image_cls",
        learning_rate=5e-3,
        bf16=True,
    )


FAMILIES = {
    "siglip": family(),
    # For embeddings: with the pooling head.
    "siglip-head": family(vision_use_head=True, num_hidden_layers=1),
}


def case(config=None, **more):
    return image_cls.pictured(config, families=("siglip",), **more)


CASES = {
    "siglip-lora": case(image_cls.lora, merges=True, bf16=True),
    "siglip-full": case(),
    "siglip-all-linear": case(lambda: image_cls.lora(target_modules="all-linear"), merges=True),
    "siglip-patches": case(lambda: image_cls.lora(target_modules=["patch_embedding"]), merges=True),
}
