from families import rope
from stem import Family
from transformers import MinistralConfig

FAMILIES = {
    # The first layer has a sliding window, the second full attention.
    "ministral": Family(
        lambda: MinistralConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=128,
            vocab_size=90,
            bos_token_id=1,
            eos_token_id=2,
            sliding_window=5,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters=rope(10000.0),
        ),
        cases=("none", "lora-all-linear"),
    ),
}
