from families import SHAPE, rope
from stem import Family
from transformers import Qwen2Config

FAMILIES = {
    "qwen2": Family(
        lambda: Qwen2Config(**SHAPE, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(1e6)),
        cases=("none", "prompt", "prefix", "lora", "lora-bias-all", "lora-bias-lora-only", "full"),
    )
}
