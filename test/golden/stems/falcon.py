"""Falcon as 7B (one key head, one norm), 40B (groups of heads, two norms), Falcon 2 (one norm), and RW (ALiBi)."""

from families import rope
from peft import PrefixTuningConfig
from stem import Case, Family
from transformers import FalconConfig

SHAPE = dict(
    num_hidden_layers=2,
    vocab_size=90,
    ffn_hidden_size=40,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    rope_parameters=rope(10000.0),
)
NEW = dict(hidden_size=32, num_attention_heads=4, num_kv_heads=2, new_decoder_architecture=True)

FAMILIES = {
    "falcon": Family(
        lambda: FalconConfig(**SHAPE, hidden_size=24, num_attention_heads=3),
        cases=("none", "prompt", "lora", "full"),
        bf16=("lora",),
    ),
    "falcon-new": Family(
        lambda: FalconConfig(**SHAPE, **NEW, tie_word_embeddings=False),
        cases=("none", "prefix", "lora-all-linear", "full"),
    ),
    "falcon-one-norm": Family(
        lambda: FalconConfig(**SHAPE, **NEW, num_ln_in_parallel_attn=1),
        cases=("none", "full"),
    ),
    # Heads whose slopes are not powers of two, so that their rounding shows.
    "falcon-rw": Family(
        lambda: FalconConfig(
            **SHAPE, hidden_size=24, num_attention_heads=12, alibi=True, bias=True, multi_query=False, parallel_attn=False
        ),
        cases=("none", "prompt", "prefix", "lora", "full"),
    ),
}

CASES = {
    # PEFT does not detect the single key head, and fails in the forward pass unless it is set.
    "prefix-one-head": Case(
        lambda family: PrefixTuningConfig(num_virtual_tokens=5, token_dim=8, num_attention_heads=1),
        families=("falcon",),
        greedy=True,
    ),
}
