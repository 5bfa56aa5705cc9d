"""Uni-LoRA. Its indices depend only on a seed: evenly distributed, with a remainder, and with fewer elements than the
vector is long.
"""

from peft import UniLoraConfig
from stem import Case


def unilora(**fields) -> UniLoraConfig:
    return UniLoraConfig(**{"r": 2, "theta_d_length": 33, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "unilora": Case(lambda family: unilora(), families=("llama",), merges=True, greedy=True, bf16=True),
    "unilora-conv1d": Case(
        lambda family: unilora(
            theta_d_length=64, proj_seed=7, bias="unilora_only", init_weights=False, target_modules=["c_attn", "c_fc"]
        ),
        families=("gpt2",),
        merges=True,
    ),
}

NOISE = {".unilora_theta_d.": lambda parameter, noise: parameter.copy_(2 * noise)}
