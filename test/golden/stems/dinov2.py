"""DINOv2, its gated variant, and the one with registers. The images do not have the size of the position embeddings.

Those are interpolated, as Transformers does for any other size.
"""

from stem import Family, load
from transformers import Dinov2Config, Dinov2WithRegistersConfig

image_cls = load("image_cls")

SHAPE = dict(
    image_size=16,
    patch_size=4,
    hidden_size=16,
    mlp_ratio=2,
    num_attention_heads=2,
    layerscale_value=0.5,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)


def family(config) -> Family:
    return Family(config, cases=(), task="image_cls", learning_rate=5e-3, bf16=True)


FAMILIES = {
    "dinov2": family(lambda: Dinov2Config(**SHAPE, num_hidden_layers=2, use_mask_token=False)),
    "dinov2-gated": family(lambda: Dinov2Config(**SHAPE, num_hidden_layers=1, use_swiglu_ffn=True)),
    "dinov2-registers": family(
        lambda: Dinov2WithRegistersConfig(**SHAPE, num_hidden_layers=1, num_register_tokens=3)
    ),
}

CASES = {
    "dinov2-lora": image_cls.pictured(
        image_cls.lora, families=("dinov2", "dinov2-gated", "dinov2-registers"), merges=True, bf16=True
    ),
    "dinov2-full": image_cls.pictured(families=("dinov2",)),
    "dinov2-all-linear": image_cls.pictured(
        lambda: image_cls.lora(target_modules="all-linear"), families=("dinov2", "dinov2-gated"), merges=True
    ),
    "dinov2-patches": image_cls.pictured(
        lambda: image_cls.lora(target_modules=["projection"]), families=("dinov2",), merges=True
    ),
}
