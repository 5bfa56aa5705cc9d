"""C3A. The backward pass of PEFT uses the reversed blocks for the gradient of the input.

That is only correct for blocks of 1, and does not matter if nothing below is trained. So the cases adapt parallel
projections of the first layer, or the last layer with blocks of 1 in its last linear layer.
"""

from peft import C3AConfig
from stem import Case


def c3a(**fields) -> C3AConfig:
    return C3AConfig(**{"block_size": 8, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "c3a": Case(lambda family: c3a(layers_to_transform=[0]), families=("llama",), merges=True, greedy=True, bf16=True),
    "c3a-patterns": Case(
        lambda family: c3a(
            target_modules=["q_proj", "down_proj"],
            block_size_pattern={"layers.1.self_attn.q_proj": 16, "down_proj": 1},
            layers_to_transform=[1],
            bias="c3a_only",
            init_weights="gaussian",
        ),
        families=("qwen2",),
        merges=True,
    ),
}

# The update is divided by the number of inputs.
NOISE = {".c3a_kernel.": lambda parameter, noise: parameter.copy_(2 * noise)}
