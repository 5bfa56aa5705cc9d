"""MPT with a number of heads that is not a power of two; and untied, with clipped q, k and v and its own softmax scale.

PEFT does not find the number of heads in MPT's config, so virtual tokens set it.
"""

from peft import PrefixTuningConfig, PromptTuningConfig
from stem import Case, Family
from transformers import MptConfig

SHAPE = dict(d_model=24, n_layers=2, n_heads=6, vocab_size=90, max_seq_len=64)

FAMILIES = {
    "mpt": Family(
        lambda: MptConfig(**SHAPE),
        cases=("none", "lora", "full"),
        bf16=("lora",),
    ),
    "mpt-clipped": Family(
        lambda: MptConfig(
            **SHAPE,
            attn_config={"clip_qkv": 1.5, "softmax_scale": 0.4},
            layer_norm_epsilon=1e-3,
            tie_word_embeddings=False,
        ),
        cases=("none", "full"),
    ),
}

CASES = {
    "prompt-heads": Case(
        lambda family: PromptTuningConfig(num_virtual_tokens=4, num_attention_heads=6),
        families=("mpt",),
        greedy=True,
    ),
    "prefix-heads": Case(
        lambda family: PrefixTuningConfig(num_virtual_tokens=5, num_attention_heads=6),
        families=("mpt",),
        greedy=True,
    ),
}
