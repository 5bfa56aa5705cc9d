"""TinyLoRA: separate vectors for each linear layer, and tied ones whose matrices depend only on the seed."""

from peft import TinyLoraConfig
from stem import Case


def tinylora(**fields) -> TinyLoraConfig:
    return TinyLoraConfig(**{"r": 2, "u": 6, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "tinylora": Case(lambda family: tinylora(), families=("llama",), merges=True, greedy=True, bf16=True),
    "tinylora-tied": Case(
        lambda family: tinylora(
            r=3,
            weight_tying=0.5,
            projection_seed=7,
            save_projection=False,
            init_weights="uniform",
            init_v_bound=0.5,
            target_modules=["down_proj", "k_proj", "q_proj"],
        ),
        families=("llama",),
        merges=True,
    ),
    "tinylora-conv1d": Case(
        lambda family: tinylora(weight_tying=1.0, bias="tinylora_only", target_modules=["c_attn", "mlp.c_proj"]),
        families=("gpt2",),
        merges=True,
    ),
}

NOISE = {".tinylora_v.": lambda parameter, noise: parameter.copy_(0.5 * noise)}
