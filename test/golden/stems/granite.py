from families import rope
from stem import Family
from transformers import GraniteConfig

FAMILIES = {
    "granite": Family(
        lambda: GraniteConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=128,
            vocab_size=90,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
            embedding_multiplier=3.0,
            attention_multiplier=0.2,
            residual_multiplier=0.3,
            logits_scaling=1.7,
            rope_parameters=rope(10000.0),
        ),
        cases=("none", "prompt", "prefix", "lora-all-linear", "full"),
    ),
}
