"""OPT; as OPT-350M (norms after each sublayer, another embedding size); and as Galactica (no biases, GELU)."""

from peft import PromptTuningConfig
from stem import Case, Family
from transformers import OPTConfig

SHAPE = dict(
    hidden_size=24,
    ffn_dim=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=64,
    vocab_size=90,
    dropout=0.0,
    pad_token_id=1,
    bos_token_id=2,
    eos_token_id=2,
)

FAMILIES = {
    "opt": Family(
        lambda: OPTConfig(**SHAPE),
        cases=("none", "prompt", "prefix", "lora", "lora-bias-lora-only", "ia3", "full"),
        bf16=("lora",),
    ),
    "opt-projected": Family(
        lambda: OPTConfig(**SHAPE, word_embed_proj_dim=16, do_layer_norm_before=False),
        cases=("none", "prefix", "lora-all-linear", "full"),
    ),
    "opt-bare": Family(
        lambda: OPTConfig(**SHAPE, enable_bias=False, activation_function="gelu", tie_word_embeddings=False),
        cases=("none", "full"),
    ),
}

CASES = {
    # PEFT assumes hidden_size as the embedding size, and fails in the forward pass unless it is set.
    "prompt-projected": Case(
        lambda family: PromptTuningConfig(num_virtual_tokens=4, token_dim=16), families=("opt-projected",), greedy=True
    ),
}
