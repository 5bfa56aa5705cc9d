"""LoHa. PEFT rejects gpt2, whose projections are Conv1D. So qwen2 is used with llama: its q, k and v have biases."""

from peft import LoHaConfig
from stem import Case

BOTH = ("llama", "qwen2")


def loha(**fields) -> LoHaConfig:
    return LoHaConfig(**{"r": 3, "alpha": 12, **fields})


CASES = {
    "loha": Case(lambda family: loha(), families=BOTH, merges=True, greedy=True, bf16=True),
    "loha-all-linear": Case(
        lambda family: loha(target_modules="all-linear", init_weights=False, r=2), families=("llama",), merges=True
    ),
    "loha-patterns": Case(
        lambda family: loha(
            target_modules=["q_proj", "down_proj"],
            rank_pattern={"layers.1.self_attn.q_proj": 5, "down_proj": 2},
            alpha_pattern={"layers.0.mlp.down_proj": 3, "q_proj": 7},
        ),
        families=("llama",),
        merges=True,
    ),
}

# With smaller values, the product of the four factors would hardly show.
NOISE = {".hada_w2_b.": lambda parameter, noise: parameter.copy_(noise)}
