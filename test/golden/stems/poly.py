"""Polytropon of three tasks, which the sequences of a batch are of in turn (measure.py), by its means: what it draws in training is nobody else's."""

from peft import PolyConfig
from stem import Case

CASES = {
    "poly": Case(
        lambda family: PolyConfig(r=2, n_tasks=3, n_skills=3), families=("llama",), training=False, greedy=True, bf16=True
    ),
    "poly-split": Case(
        lambda family: PolyConfig(r=2, n_tasks=3, n_skills=2, n_splits=2, target_modules=["q_proj", "down_proj"]),
        families=("qwen2",),
        training=False,
    ),
}

NOISE = {
    ".poly_lora_B.": lambda parameter, noise: parameter.copy_(0.15 * noise),
    ".module_logits": lambda parameter, noise: parameter.copy_(noise),
}
