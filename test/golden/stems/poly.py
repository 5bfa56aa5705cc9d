"""Polytropon with three tasks in evaluation mode, because its random numbers in training cannot be reproduced.

The sequences of a batch cycle through the tasks (measure.py).
"""

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
