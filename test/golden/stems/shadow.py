"""ShadowPEFT without dropout: next to all layers with the base's embeddings, and next to the last ones with a narrower
backbone and its own embeddings.
"""

from peft import ShadowConfig
from stem import Case


def rest(model):
    """Freezes the update after the last layer. Nothing reads it, so it gets no gradient and does not train in Graft.
    """
    last = [module for module in model.modules() if type(module).__name__ == "ShadowLayer"][-1]
    last.shadow_update_transform.requires_grad_(False)
    last.shadow_update_gate.requires_grad_(False)
    return model


CASES = {
    "shadow": Case(
        lambda family: ShadowConfig(r=2, shadow_dropout=0.0, shadow_intermediate_size=8),
        families=("llama",),
        greedy=True,
        bf16=True,
        prepare=rest,
    ),
    "shadow-own": Case(
        lambda family: ShadowConfig(
            r=3,
            shadow_dropout=0.0,
            shadow_alpha=0.4,
            target_modules=["layers.1", "layers.2"],
            shadow_hidden_size=16,
            shadow_num_attention_heads=2,
            shadow_intermediate_size=12,
            update_hidden_size=2,
            auxiliary_loss_weight=0.3,
        ),
        families=("llama3",),
        greedy=True,
        prepare=rest,
    ),
}

NOISE = {
    ".shadow_up.": lambda parameter, noise: parameter.copy_(0.5 * noise),
    ".shadow_backbone.": lambda parameter, noise: parameter.add_(0.3 * noise),
}
