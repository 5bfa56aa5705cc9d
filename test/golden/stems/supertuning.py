"""Super-Tuning, by itself and with a LoRA (Supra). PEFT finds places in the base's dtype: in bf16 they would be others. It refuses gpt2 (Conv1D)."""

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
