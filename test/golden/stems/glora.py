"""GLoRA. qwen2's projections have biases, whose paths train; llama's have none, and the paths are zero."""

from peft import GloraConfig
from stem import Case


def glora(**fields) -> GloraConfig:
    return GloraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "glora": Case(lambda family: glora(), families=("llama",), merges=True, greedy=True, bf16=True),
    "glora-biases": Case(lambda family: glora(target_modules=["v_proj"]), families=("qwen2",), merges=True),
    "glora-vectors": Case(
        lambda family: glora(
            config_A_B="vector", config_C="vector", config_D_E="vector", init_weights=False, bias="glora_only",
            target_modules=["v_proj"],
        ),
        families=("qwen2",),
        merges=True,
    ),
    "glora-numbers": Case(
        lambda family: glora(config_A_B="constant", config_C="none", config_D_E="none", target_modules=["k_proj"]),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".glora_": lambda parameter, noise: parameter.add_(0.2 * noise)}
