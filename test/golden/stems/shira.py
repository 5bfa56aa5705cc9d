"""SHiRA: the positions are a PyTorch permutation from a seed. PEFT rejects gpt2 (Conv1D)."""

from peft import ShiraConfig
from stem import Case

LLAMA = ("llama",)

CASES = {
    "shira": Case(lambda family: ShiraConfig(r=2), families=LLAMA, merges=True, bf16=True),
    "shira-seed": Case(
        lambda family: ShiraConfig(r=1, random_seed=7, target_modules=["k_proj", "down_proj"]), families=("qwen2",)
    ),
}

NOISE = {".shira_weight.": lambda parameter, noise: parameter.copy_(0.3 * noise)}
