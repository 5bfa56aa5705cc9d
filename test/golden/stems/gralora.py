from peft import GraloraConfig
from stem import Case


def gralora(**fields) -> GraloraConfig:
    return GraloraConfig(**{"r": 4, "alpha": 6, **fields})


CASES = {
    "gralora": Case(lambda family: gralora(), families=("llama",), merges=True, bf16=True),
    "gralora-hybrid": Case(
        lambda family: gralora(gralora_k=4, hybrid_r=2, target_modules=["c_attn", "mlp.c_proj"], layers_to_transform=1),
        families=("gpt2",),
        merges=True,
        greedy=True,
    ),
}

# With smaller values, their products would hardly show.
NOISE = {part: lambda parameter, noise: parameter.copy_(0.2 * noise) for part in (".gralora_B.", ".gralora_B_general.")}
