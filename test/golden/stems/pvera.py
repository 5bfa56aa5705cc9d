"""PVeRA in evaluation mode, because its random numbers in training cannot be reproduced."""

from peft import PveraConfig
from stem import Case

CASES = {
    "pvera": Case(lambda family: PveraConfig(r=4), families=("llama",), training=False, merges=True, bf16=True),
    "pvera-conv1d": Case(
        lambda family: PveraConfig(r=3, projection_prng_key=5, save_projection=False, init_weights=False),
        families=("gpt2",),
        training=False,
        greedy=True,
    ),
}

NOISE = {".pvera_lambda_": lambda parameter, noise: parameter.add_(0.3 * noise)}
