"""PEANuT with its default depth, and with depth 2."""

from peft import PeanutConfig
from stem import Case


def peanut(**fields) -> PeanutConfig:
    return PeanutConfig(**{"r": 3, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "peanut": Case(lambda family: peanut(scaling=2), families=("llama",), merges=True, greedy=True, bf16=True),
    "peanut-deep": Case(
        lambda family: peanut(depth=2, act_fn="gelu_new", init_weights=False, layers_to_transform=[0]),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".peanut_B.": lambda parameter, noise: parameter.copy_(0.2 * noise)}
