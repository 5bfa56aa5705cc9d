"""DEFT with both decompositions, and PaRa. GPT-2's weights are stored [in, out] and have biases, which the projection
does not affect.
"""

from peft import DeftConfig
from stem import Case


def deft(**fields) -> DeftConfig:
    return DeftConfig(**{"r": 3, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "deft": Case(lambda family: deft(alpha=6), families=("llama",), merges=True, greedy=True, bf16=True),
    "deft-qr": Case(
        lambda family: deft(decomposition_method="qr", init_weights=False, bias="deft_only", target_modules=["c_attn"], r=2),
        families=("gpt2",),
        merges=True,
    ),
    "deft-para": Case(
        lambda family: deft(para=True, r=20, target_modules=["v_proj"], layers_to_transform=[1]),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {
    ".deft_P.": lambda parameter, noise: parameter.copy_(0.3 * noise),
    ".deft_R.": lambda parameter, noise: parameter.add_(0.2 * noise),
}
