from peft import LNTuningConfig
from stem import Case

CASES = {
    "ln-tuning": Case(
        lambda family: LNTuningConfig(),
        families=("llama", "gpt2", "qwen2"),
        merges=True,
    ),
    "ln-tuning-some": Case(
        lambda family: LNTuningConfig(
            target_modules=r".*layernorm|model\.norm", exclude_modules=["1.input_layernorm"], modules_to_save=["lm_head"]
        ),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {".ln_tuning_layers.": lambda parameter, noise: parameter.add_(0.1 * noise)}
