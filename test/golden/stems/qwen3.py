from families import SHAPE, rope
from stem import Family
from transformers import Qwen3Config

FAMILIES = {
    "qwen3": Family(
        lambda: Qwen3Config(
            **SHAPE, head_dim=12, rms_norm_eps=1e-6, tie_word_embeddings=False, rope_parameters=rope(1e6)
        ),
        cases=("none", "prompt", "prefix", "prefix-projection", "lora", "lora-all-linear", "full"),
    )
}
