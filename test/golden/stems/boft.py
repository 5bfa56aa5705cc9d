"""BOFT. Without its CUDA extension, PEFT always uses one butterfly factor."""

from peft import BOFTConfig
from stem import Case


def boft(**fields) -> BOFTConfig:
    return BOFTConfig(**{"boft_block_size": 4, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "boft": Case(lambda family: boft(), families=("llama",), merges=True, greedy=True, bf16=True),
    "boft-blocks": Case(
        lambda family: boft(boft_block_size=0, boft_block_num=2, bias="boft_only", target_modules=["v_proj"]),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {
    ".boft_R.": lambda parameter, noise: parameter.copy_(0.2 * noise),
    ".boft_s.": lambda parameter, noise: parameter.copy_(1 + 0.2 * noise),
}
