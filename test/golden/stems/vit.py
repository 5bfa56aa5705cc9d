"""ViT: images that are not square, with sizes that patches do not divide. PEFT has no default targets for it.

Also the methods that PEFT supports on a convolution, except for OFT, whose forward pass there differs from its merge.
"""

from peft import AdaLoraConfig, BOFTConfig, HiraConfig, HRAConfig, IA3Config, LoHaConfig, LoKrConfig
from stem import Family, load
from transformers import ViTConfig

image_cls = load("image_cls")

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


def convolved(config, **options):
    """Config that targets the convolution and a linear layer."""
    targets = {"target_modules": ["projection", "q_proj"], "modules_to_save": ["classifier"]}
    return image_cls.pictured(lambda: config(**{**targets, **options}), merges=True)


CASES = {
    "conv-adalora": convolved(AdaLoraConfig, init_r=3, target_r=2, tinit=2, tfinal=4, deltaT=2, total_step=20),
    "conv-boft": convolved(BOFTConfig, boft_block_size=4),
    "conv-hira": convolved(HiraConfig, r=2),
    "conv-hra": convolved(HRAConfig, r=4),
    "conv-ia3": convolved(IA3Config, feedforward_modules=["q_proj"]),
    "conv-ia3-input": convolved(IA3Config, feedforward_modules=["projection"]),
    "conv-loha": convolved(LoHaConfig, r=2, alpha=6),
    "conv-lokr": convolved(LoKrConfig, r=2, alpha=6),
    "conv-lokr-core": convolved(LoKrConfig, r=2, alpha=6, use_effective_conv2d=True),
    "conv-lokr-whole": convolved(LoKrConfig, r=4, alpha=6),
}
