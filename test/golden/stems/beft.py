"""BEFT: qwen2's projections have biases, into which PEFT merges; llama's have none, and PEFT rejects merging."""

from peft import BeftConfig
from stem import Case

CASES = {
    "beft": Case(lambda family: BeftConfig(), families=("llama",), greedy=True, bf16=True),
    "beft-merged": Case(
        lambda family: BeftConfig(target_modules=["q_proj", "v_proj"], init_weights=False),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".beft_bias.": lambda parameter, noise: parameter.copy_(0.5 * noise)}
