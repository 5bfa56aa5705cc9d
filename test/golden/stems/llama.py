from families import SHAPE, rope
from stem import Family
from transformers import LlamaConfig

FAMILIES = {
    "llama": Family(
        lambda: LlamaConfig(**SHAPE, rms_norm_eps=1e-5, rope_parameters=rope(10000.0)),
        cases=(
            *("none", "prompt", "p-tuning-mlp", "p-tuning-lstm", "prefix", "prefix-projection", "lora", "lora-all-linear"),
            *("lora-rslora", "lora-dora", "lora-dora-all-linear", "lora-patterns", "lora-saved-norms", "lora-saved-head"),
            "full",
        ),
        bf16=True,
    ),
    # Frequencies below, above and within the interpolated range of llama3's scaling, and positions beyond 16.
    "llama3": Family(
        lambda: LlamaConfig(
            **{**SHAPE, "num_hidden_layers": 3},
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            rope_parameters=rope(
                500.0,
                rope_type="llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        cases=("none", "prompt", "prefix", "lora", "lora-all-linear", "full"),
    ),
}
