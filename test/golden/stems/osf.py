"""OSF on square, tall and flat weights: with PEFT's defaults, and with ranks of several kinds.

Not in bf16: when PEFT casts trainable parameters to f32, it loses the hooks that project their gradients.
"""

from peft import OSFConfig
from stem import Case

CASES = {
    "osf": Case(
        lambda family: OSFConfig(target_modules=["q_proj", "v_proj"]),
        families=("llama",),
        merges=True,
        greedy=True,
    ),
    "osf-patterns": Case(
        lambda family: OSFConfig(
            effective_rank=12,
            rank_pattern={r"1\.mlp": 0.9, "up_proj": 27, r"^model\.layers\.0.*v_": 10},
            target_modules=["v_proj", "up_proj"],
            modules_to_save=["norm"],
        ),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".osf_svd_params.": lambda parameter, noise: parameter.add_(0.1 * noise)}
