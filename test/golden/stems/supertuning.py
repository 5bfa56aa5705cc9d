"""Super-Tuning alone and with a LoRA (Supra). PEFT rejects gpt2 (Conv1D).

Not in bf16: PEFT selects positions in the base's dtype, so they would differ.
"""

from peft import SupertuningConfig
from stem import Case

CASES = {
    "supertuning": Case(lambda family: SupertuningConfig(sparsity=0.97), families=("llama",), merges=True, greedy=True),
    "supertuning-supra": Case(
        lambda family: SupertuningConfig(sparsity=0.98, select_top=False, r=2, target_modules=["k_proj", "down_proj"]),
        families=("qwen2",),
        merges=True,
    ),
}

NOISE = {
    ".supertuning_values.": lambda parameter, noise: parameter.copy_(0.3 * noise),
    ".supertuning_lora_B.": lambda parameter, noise: parameter.copy_(0.2 * noise),
}
