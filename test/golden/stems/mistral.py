from families import SHAPE, rope
from stem import Family
from transformers import MistralConfig

SHAPE = {**SHAPE, "num_hidden_layers": 3, "vocab_size": 112}

FAMILIES = {
    "mistral": Family(
        lambda: MistralConfig(**SHAPE, rms_norm_eps=1e-5, sliding_window=6, rope_parameters=rope(10000.0)),
        cases=("none", "prompt", "prefix", "lora", "lora-dora"),
    )
}
