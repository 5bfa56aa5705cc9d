"""HRA: a chain of reflections, and orthogonal ones. PEFT initializes equal pairs, which would cancel out."""

from peft import HRAConfig
from stem import Case


def hra(**fields) -> HRAConfig:
    return HRAConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "hra": Case(lambda family: hra(), families=("llama",), merges=True, greedy=True, bf16=True),
    "hra-orthogonal": Case(
        lambda family: hra(r=3, apply_GS=True, init_weights=False, bias="hra_only", layers_to_transform=[0]),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".hra_u.": lambda parameter, noise: parameter.copy_(noise)}
