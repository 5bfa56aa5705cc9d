from families import rope
from stem import Family
from transformers import SmolLM3Config

FAMILIES = {
    # Layer 1 has no rotary positions, and a sliding window.
    "smollm3": Family(
        lambda: SmolLM3Config(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=128,
            vocab_size=90,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            no_rope_layer_interval=2,
            use_sliding_window=True,
            sliding_window=5,
            rope_parameters=rope(1000.0),
        ),
        cases=("none", "prompt", "prefix", "lora-all-linear", "full"),
    ),
}
