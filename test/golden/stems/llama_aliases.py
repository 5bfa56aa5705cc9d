"""Model types of Transformers with LLaMA's architecture: Seed-OSS, IQuest-Coder, Code World Model."""

from families import rope
from stem import Family
from transformers import CwmConfig, IQuestCoderConfig, SeedOssConfig

SHAPE = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=128,
    vocab_size=90,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
    rope_parameters=rope(10000.0),
)

FAMILIES = {
    "seed_oss": Family(
        lambda: SeedOssConfig(
            **SHAPE, attention_bias=False, attention_out_bias=False, attention_dropout=0.0, residual_dropout=0.0
        ),
        cases=("none", "lora-all-linear"),
    ),
    "iquestcoder": Family(lambda: IQuestCoderConfig(**SHAPE), cases=("none", "lora-all-linear")),
    "cwm": Family(
        lambda: CwmConfig(
            **{**SHAPE, "hidden_size": 24, "num_attention_heads": 3, "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 5}
        ),
        cases=("none", "lora-all-linear"),
    ),
}
