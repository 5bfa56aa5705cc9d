"""BLOOM with a number of heads that is not a power of two, whose slopes have another order; and untied with a power of
two.
"""

from stem import Family
from transformers import BloomConfig

SHAPE = dict(hidden_size=24, n_layer=2, vocab_size=90, bos_token_id=1, eos_token_id=2)

FAMILIES = {
    "bloom": Family(
        lambda: BloomConfig(**SHAPE, n_head=6),
        cases=("none", "prompt", "prefix", "lora", "full"),
        bf16=("lora",),
    ),
    "bloom-untied": Family(
        lambda: BloomConfig(**SHAPE, n_head=4, tie_word_embeddings=False, layer_norm_epsilon=1e-3),
        cases=("none", "full"),
    ),
}
