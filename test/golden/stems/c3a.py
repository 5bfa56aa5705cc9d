"""C3A. PEFT's own backward pass gives the input the gradient of the blocks turned over: right for blocks of 1, and unused
where nothing below trains. So the cases adapt the first layer, side by side, or the last with the last linear in blocks
of 1."""

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

# The update is divided by the inputs.
NOISE = {".c3a_kernel.": lambda parameter, noise: parameter.copy_(2 * noise)}
