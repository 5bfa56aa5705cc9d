"""FourierFT. Its positions depend only on a seed. GPT-2's weights are stored [in, out], and so are the positions."""

from peft import FourierFTConfig
from stem import Case


def fourierft(**fields) -> FourierFTConfig:
    return FourierFTConfig(**{"n_frequency": 12, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "fourierft": Case(lambda family: fourierft(), families=("llama",), merges=True, greedy=True, bf16=True),
    # one matrix computes query, key and value
    "fourierft-fused": Case(
        lambda family: fourierft(target_modules=["query_key_value", "dense"]), families=("gpt_neox",), merges=True
    ),
    "fourierft-patterns": Case(
        lambda family: fourierft(
            target_modules=None,
            random_loc_seed=5,
            scaling=40,
            init_weights=True,
            bias="all",
            n_frequency_pattern={"h.1.mlp.c_proj": 7},
        ),
        families=("gpt2",),
        merges=True,
    ),
}

NOISE = {".fourierft_spectrum.": lambda parameter, noise: parameter.copy_(noise)}
