"""MiSS in its three variants. PEFT rejects gpt2, whose projections are Conv1D."""

from peft import MissConfig
from stem import Case

LLAMA = ("llama",)


def miss(**fields) -> MissConfig:
    return MissConfig(**{"r": 4, **fields})


CASES = {
    # 5 does not divide the 32 inputs, so the last chunk is padded.
    "miss": Case(lambda family: miss(r=5), families=LLAMA, merges=True, bf16=True),
    "miss-bat": Case(
        lambda family: miss(init_weights="bat", target_modules=["k_proj", "down_proj"], bias="MiSS_only"),
        families=("qwen2",),
        merges=True,
        greedy=True,
    ),
    "miss-mini": Case(
        lambda family: miss(init_weights="mini", mini_r=8, target_modules=["q_proj", "up_proj"]),
        families=LLAMA,
        merges=True,
    ),
    "miss-random": Case(lambda family: miss(init_weights=False, layers_to_transform=[1], target_modules=["o_proj"]), families=LLAMA),
}

NOISE = {".miss_block.": lambda parameter, noise: parameter.copy_(0.1 * noise)}
