"""ViT: pictures that are not square, patches that do not divide them. PEFT has no default targets for it."""

from stem import Family
from transformers import ViTConfig

FAMILIES = {
    "vit": Family(
        lambda: ViTConfig(
            image_size=(13, 12),
            patch_size=4,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        cases=(),
        task="image_cls",
        learning_rate=5e-3,
        bf16=True,
    )
}
