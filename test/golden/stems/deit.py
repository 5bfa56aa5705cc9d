"""DeiT: ViT with a distillation token. Transformers maps the names of its parameters like those of ViT."""

from stem import Family, load
from transformers import DeiTConfig

image_cls = load("image_cls")

FAMILIES = {
    "deit": Family(
        lambda: DeiTConfig(
            image_size=(13, 12),
            patch_size=4,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        cases=(),
        task="image_cls",
        learning_rate=5e-3,
    )
}

CASES = {"deit-lora": image_cls.pictured(image_cls.lora, families=("deit",), merges=True)}
