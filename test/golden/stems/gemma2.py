"""Gemma 2 and the text models of Gemma 3, with windows shorter than the sequences, and scores that reach the soft caps.
"""

from families import rope
from stem import Family
from transformers import Gemma2Config, Gemma3TextConfig

SHAPE = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
    vocab_size=90,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=1,
    sliding_window=6,
)

FAMILIES = {
    "gemma2": Family(
        lambda: Gemma2Config(
            **SHAPE,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=8.0,
            rope_parameters=rope(10000.0),
        ),
        cases=("none", "prompt", "prefix", "lora", "full"),
    ),
    # Layers 0 and 1 have sliding windows. The other has another RoPE base with linear scaling, as in models from 4B on.
    "gemma3_text": Family(
        lambda: Gemma3TextConfig(
            **SHAPE,
            query_pre_attn_scalar=12,
            tie_word_embeddings=False,
            sliding_window_pattern=3,
            rope_parameters={
                "sliding_attention": rope(100.0),
                "full_attention": rope(1e6, rope_type="linear", factor=8.0),
            },
        ),
        cases=("none", "prompt", "prefix", "lora", "full"),
    ),
}
