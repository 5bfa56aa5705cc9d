from peft import HiraConfig
from stem import Case


def hira(**fields) -> HiraConfig:
    return HiraConfig(**{"r": 3, **fields})


CASES = {
    "hira": Case(
        lambda family: hira(target_modules=["q_proj", "down_proj"]),
        families=("llama",),
        merges=True,
        bf16=True,
    ),
    "hira-conv1d": Case(lambda family: hira(init_weights="gaussian"), families=("gpt2",), merges=True, greedy=True),
}

# With zeros, the product would not show.
NOISE = {".hira_B.": lambda parameter, noise: parameter.copy_(0.5 * noise)}
