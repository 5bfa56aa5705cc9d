"""Qwen 3 with experts: weights of the selected experts that do not sum to one, and a layer without experts."""

from families import SHAPE, rope
from stem import Family
from transformers import Qwen3MoeConfig

SHAPE = {**SHAPE, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2}

FAMILIES = {
    "qwen3_moe": Family(
        lambda: Qwen3MoeConfig(
            **SHAPE,
            head_dim=8,
            num_experts=5,
            num_experts_per_tok=3,
            moe_intermediate_size=8,
            norm_topk_prob=False,
            mlp_only_layers=[1],
            rms_norm_eps=1e-6,
            rope_parameters=rope(1e6),
        ),
        cases=("none", "full"),
    )
}
