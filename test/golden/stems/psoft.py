"""PSOFT: both forms of rotations, and an unconstrained matrix. Its frozen factors are computed from the weight and not
in the file.
"""

from peft import PsoftConfig
from stem import Case


def psoft(**fields) -> PsoftConfig:
    return PsoftConfig(**{"r": 4, "psoft_alpha": 8, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "psoft": Case(lambda family: psoft(), families=("llama",), merges=True, greedy=True, bf16=True),
    "psoft-series": Case(
        lambda family: psoft(
            ab_svd_init="pissa_init",
            use_cayley_neumann=True,
            num_cayley_neumann_terms=4,
            cayley_neumann_eps=0.3,
            psoft_mag_a=False,
            layers_to_transform=[1],
        ),
        families=("qwen2",),
        merges=True,
    ),
    "psoft-free": Case(
        lambda family: psoft(psoft_orth=False, psoft_mag_b=False, target_modules=["down_proj"]),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {
    ".psoft_R.default.weight": lambda parameter, noise: parameter.add_(0.3 * noise),
    ".psoft_R.default.vector": lambda parameter, noise: parameter.copy_(1 + 0.3 * noise),
}
