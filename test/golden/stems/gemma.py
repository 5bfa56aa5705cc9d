from families import rope
from peft import LoraConfig
from stem import Case, Family
from transformers import GemmaConfig

# Heads are wider in total than the hidden size, as in the 7B model.
SHAPE = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=128,
    vocab_size=90,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=1,
)

FAMILIES = {
    "gemma": Family(
        lambda: GemmaConfig(**SHAPE, rope_parameters=rope(10000.0)),
        cases=("none", "prompt", "lora", "full"),
        bf16=True,
    ),
}

# Updates of the embedding are also multiplied by √D.
CASES = {
    "lora-scaled-embedding": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "embed_tokens"]), families=("gemma",)
    ),
    "lora-scaled-tokens": Case(
        lambda family: LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], trainable_token_indices=[17, 30]),
        families=("gemma",),
    ),
}
