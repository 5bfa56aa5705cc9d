from peft import IA3Config
from stem import Case

# Scaled modules by family, and those of them that are scaled on their input.
TARGETS = {
    "llama": (["q_proj", "o_proj", "up_proj", "down_proj"], ["o_proj", "down_proj"]),
    "gpt2": (["attn.c_attn", "c_fc", "c_proj"], ["c_fc", "c_proj"]),
}
SAVED = {"llama": ["lm_head"], "gpt2": ["ln_f"]}
BOTH = ("llama", "gpt2")


def ia3(**fields) -> IA3Config:
    return IA3Config(**fields)


def targets(family: str) -> IA3Config:
    modules, feedforward = TARGETS[family]
    return ia3(target_modules=modules, feedforward_modules=feedforward)


CASES = {
    "ia3": Case(lambda family: ia3(), families=BOTH, merges=True, greedy=True, bf16=True),
    "ia3-targets": Case(targets, families=BOTH, merges=True),
    # Patterns match the full path, for targets and for feedforward_modules.
    "ia3-regex": Case(
        lambda family: ia3(target_modules=r".*\.(k_proj|down_proj)", feedforward_modules=r".*\.1\.mlp\.down_proj"),
        families=("llama",),
        merges=True,
    ),
    "ia3-saved-random": Case(
        lambda family: ia3(modules_to_save=SAVED[family], init_ia3_weights=False), families=BOTH, merges=True
    ),
}

NOISE = {".ia3_l.": lambda parameter, noise: parameter.add_(0.3 * noise)}
