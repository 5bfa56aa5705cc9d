"""DeLoRA. PEFT rejects gpt2, whose projections are Conv1D."""

from peft import DeloraConfig
from stem import Case


def delora(**fields) -> DeloraConfig:
    return DeloraConfig(**{"r": 3, "delora_lambda": 4, **fields})


CASES = {
    "delora": Case(lambda family: delora(), families=("llama",), merges=True, bf16=True),
    "delora-patterns": Case(
        lambda family: delora(
            target_modules=["k_proj", "down_proj"],
            rank_pattern={"layers.1.self_attn.k_proj": 2, "down_proj": 1},
            lambda_pattern={"layers.0.mlp.down_proj": 9},
        ),
        families=("qwen2",),
        merges=True,
        greedy=True,
    ),
}

# B starts at zero, where its norm is clamped.
NOISE = {".delora_B.": lambda parameter, noise: parameter.copy_(0.3 * noise)}
