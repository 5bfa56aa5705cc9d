"""VeRA: A and B have the size of the largest target and are drawn by PyTorch's generator."""

from peft import VeraConfig
from stem import Case


def vera(**fields) -> VeraConfig:
    return VeraConfig(**{"r": 4, **fields})


CASES = {
    "vera": Case(lambda family: vera(), families=("llama",), merges=True, bf16=True),
    "vera-conv1d": Case(lambda family: vera(), families=("gpt2",), merges=True),
    # Targets of several sizes. The matrices are not in the file.
    "vera-drawn": Case(
        lambda family: vera(
            target_modules=["k_proj", "up_proj", "down_proj"],
            projection_prng_key=1234567890123,
            save_projection=False,
            init_weights=False,
        ),
        families=("llama",),
        greedy=True,
    ),
}

NOISE = {".vera_lambda_": lambda parameter, noise: parameter.add_(0.3 * noise)}
