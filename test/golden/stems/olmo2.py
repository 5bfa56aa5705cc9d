from families import rope
from stem import Family
from transformers import Olmo2Config

FAMILIES = {
    "olmo2": Family(
        lambda: Olmo2Config(
            hidden_size=32,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            vocab_size=90,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            rms_norm_eps=1e-3,
            rope_parameters=rope(10000.0),
        ),
        cases=("none", "prompt", "prefix", "lora-all-linear", "full"),
    ),
}
