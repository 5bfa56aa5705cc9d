"""LoKr: each of its two matrices whole or as two thin ones. PEFT rejects gpt2 (Conv1D)."""

from peft import LoKrConfig
from stem import Case

LLAMA = ("llama",)


def lokr(**fields) -> LoKrConfig:
    return LoKrConfig(**{"r": 2, "alpha": 3, **fields})


CASES = {
    # q: both whole, [4, 4] and [8, 8] of rank 2; v: [4, 4], [4, 8]
    "lokr": Case(lambda family: lokr(), families=LLAMA, merges=True, bf16=True),
    "lokr-both": Case(
        lambda family: lokr(r=1, decompose_both=True, decompose_factor=8, target_modules=["k_proj", "down_proj"]),
        families=("qwen2",),
        merges=True,
        greedy=True,
    ),
    "lokr-patterns": Case(
        lambda family: lokr(
            init_weights="lycoris",
            target_modules=["q_proj", "up_proj"],
            rank_pattern={"layers.1.self_attn.q_proj": 5, "up_proj": 1},
            alpha_pattern={"layers.0.mlp.up_proj": 5, "q_proj": 7},
        ),
        families=LLAMA,
        merges=True,
    ),
}

# With smaller values, the product of the two would hardly show.
NOISE = {
    part: lambda parameter, noise: parameter.copy_(0.5 * noise)
    for part in (".lokr_w1.", ".lokr_w1_a.", ".lokr_w2.", ".lokr_w2_b.")
}
