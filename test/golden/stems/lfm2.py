"""LFM2: convolution layers before and after an attention layer. The kernel has one row per channel."""

from families import rope
from stem import Family
from transformers import Lfm2Config

FAMILIES = {
    "lfm2": Family(
        lambda: Lfm2Config(
            vocab_size=90,
            hidden_size=16,
            intermediate_size=36,
            block_multiple_of=8,
            block_ffn_dim_multiplier=0.9,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            layer_types=["conv", "full_attention", "conv"],
            conv_L_cache=3,
            max_position_embeddings=128,
            rope_parameters=rope(1000.0),
            bos_token_id=1,
            eos_token_id=2,
        ),
        cases=("none", "prompt", "lora-all-linear", "full"),
        bf16=True,
    ),
}
