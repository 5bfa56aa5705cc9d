"""RandLoRA. Files contain A and B for the model and again for each target, unless save_projection is off."""

from peft import RandLoraConfig
from stem import Case


def randlora(**fields) -> RandLoraConfig:
    return RandLoraConfig(**{"r": 8, "randlora_alpha": 16, **fields})


CASES = {
    # k: [16, 32], the outputs are the smaller side; 12 divides neither
    "randlora": Case(
        lambda family: randlora(r=12, target_modules=["q_proj", "k_proj"], layers_to_transform=[0]),
        families=("llama",),
        merges=True,
        bf16=True,
    ),
    "randlora-sparse": Case(
        lambda family: randlora(
            sparse=True, save_projection=False, projection_prng_key=3, init_weights=False, randlora_alpha=2
        ),
        families=("gpt2",),
        merges=True,
        greedy=True,
    ),
    "randlora-very-sparse": Case(
        lambda family: randlora(very_sparse=True, save_projection=False, target_modules=["v_proj"]), families=("llama",)
    ),
}

NOISE = {".randlora_lambda.": lambda parameter, noise: parameter.add_(0.3 * noise)}
