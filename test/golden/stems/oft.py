"""OFT: the Cayley-Neumann series, PEFT's default, and the exact transform; shared blocks, and constrained rotations.
"""

from peft import OFTConfig
from stem import Case


def oft(**fields) -> OFTConfig:
    return OFTConfig(**{"oft_block_size": 8, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    # qwen2's biases train, too, and 12 does not divide 32
    "oft": Case(lambda family: oft(), families=("llama",), merges=True, greedy=True, bf16=True),
    "oft-exact": Case(
        lambda family: oft(oft_block_size=12, use_cayley_neumann=False, bias="oft_only", target_modules=["v_proj"]),
        families=("qwen2",),
        merges=True,
    ),
    "oft-shared": Case(
        lambda family: oft(
            r=4, oft_block_size=0, block_share=True, num_cayley_neumann_terms=7, target_modules=["down_proj"],
            layers_to_transform=[1],
        ),
        families=("llama",),
        merges=True,
    ),
    # starts beyond the constraint, so that it is projected immediately
    "oft-constrained": Case(
        lambda family: oft(coft=True, eps=0.5, target_modules=["o_proj"], num_cayley_neumann_terms=3),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {".oft_R.": lambda parameter, noise: parameter.copy_(0.1 * noise)}
