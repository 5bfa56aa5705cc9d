"""WaveFT: wavelets within a weight and across its edges, and values at their positions."""

from peft import WaveFTConfig
from stem import Case


def waveft(**fields) -> WaveFTConfig:
    return WaveFTConfig(**{"n_frequency": 40, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "waveft": Case(lambda family: waveft(scaling=2), families=("llama",), merges=True, greedy=True, bf16=True),
    "waveft-patterns": Case(
        lambda family: waveft(
            target_modules=None,
            wavelet_family="db3",
            random_loc_seed=5,
            scaling=2,
            init_weights=False,
            n_frequency_pattern={"h.1.mlp.c_proj": 200},
        ),
        families=("gpt2",),
        merges=True,
    ),
    "waveft-sparse": Case(
        lambda family: waveft(use_idwt=False, scaling=1, layers_to_transform=[0], bias="waveft_only"),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {".waveft_spectrum.": lambda parameter, noise: parameter.copy_(noise)}
