"""AdaMSS: clusters of equal rank, also with biases, and clusters of different ranks of which some stop training.

Not in bf16: the singular vectors of a rounded base differ, and some have another sign.
"""

from peft import AdamssConfig
from stem import Case


def adamss(**fields) -> AdamssConfig:
    return AdamssConfig(**{"r": 8, "num_subspaces": 3, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "adamss": Case(lambda family: adamss(), families=("llama",), merges=True, greedy=True),
    "adamss-bias": Case(
        lambda family: adamss(r=10, num_subspaces=4, subspace_rank=2, random_seed=5), families=("qwen2",), merges=True
    ),
    "adamss-stopped": Case(
        lambda family: adamss(
            subspace_rank=3,
            use_dynamic_rank=True,
            svd_threshold=0.3,
            use_asa=True,
            asa_target_subspaces=4,
            init_warmup=0,
            final_warmup=9,
            mask_interval=3,
            asa_importance_beta=0.7,
            asa_uncertainty_beta=0.6,
            asa_schedule_exponent=2.0,
        ),
        families=("llama",),
    ),
}

NOISE = {".adamss_B.": lambda parameter, noise: parameter.copy_(0.3 * noise)}
