"""VB-LoRA with few and short vectors. Logits are far enough apart that rounding changes no top-k selection."""

from peft import VBLoRAConfig
from stem import Case


def vblora(**fields) -> VBLoRAConfig:
    return VBLoRAConfig(**{"r": 2, "num_vectors": 5, "vector_length": 8, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "vblora": Case(lambda family: vblora(), families=("llama",), merges=True, greedy=True, bf16=True),
    "vblora-conv1d": Case(
        lambda family: vblora(topk=3, target_modules=["c_attn", "mlp.c_fc"], bias="vblora_only", layers_to_transform=[1]),
        families=("gpt2",),
        merges=True,
    ),
}

NOISE = {
    ".vblora_logits_": lambda parameter, noise: parameter.copy_(noise),
    ".vblora_vector_bank.": lambda parameter, noise: parameter.copy_(0.3 * noise),
}
