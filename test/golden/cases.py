"""Which PEFT configuration each golden case has, per family."""

from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

TASK = {"task_type": "CAUSAL_LM"}


def lora(**fields) -> LoraConfig:
    return LoraConfig(**{**TASK, "r": 4, "lora_alpha": 6, **fields})


def patterns(family: str) -> LoraConfig:
    if family == "gpt2":
        return lora(
            target_modules=["c_attn", "mlp.c_proj"],
            rank_pattern={"h.1.attn.c_attn": 6, "mlp.c_proj": 2},
            alpha_pattern={"h.0.mlp.c_proj": 3, "c_attn": 5},
        )
    return lora(
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 6, "down_proj": 2},
        alpha_pattern={"layers.0.mlp.down_proj": 3, "q_proj": 5},
    )


# Everything but `none` (the bare base) and `full` (all its parameters train, no adapter files).
CONFIGS = {
    "prompt": lambda family: PromptTuningConfig(**TASK, num_virtual_tokens=5),
    "p-tuning-mlp": lambda family: PromptEncoderConfig(**TASK, num_virtual_tokens=4, encoder_hidden_size=12),
    "p-tuning-lstm": lambda family: PromptEncoderConfig(
        **TASK, num_virtual_tokens=4, encoder_hidden_size=8, encoder_reparameterization_type="LSTM"
    ),
    "prefix": lambda family: PrefixTuningConfig(**TASK, num_virtual_tokens=5),
    "prefix-projection": lambda family: PrefixTuningConfig(
        **TASK, num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=12
    ),
    "lora": lambda family: lora(),
    "lora-all-linear": lambda family: lora(target_modules="all-linear", lora_alpha=10),
    "lora-rslora": lambda family: lora(use_rslora=True, lora_alpha=3),
    "lora-dora": lambda family: lora(use_dora=True),
    "lora-dora-all-linear": lambda family: lora(use_dora=True, target_modules="all-linear", r=2),
    "lora-patterns": patterns,
    "lora-saved-head": lambda family: lora(modules_to_save=["lm_head"]),
    # Matching is by plain suffix: on llama "norm" also takes the layers' two norms.
    "lora-saved-norms": lambda family: lora(modules_to_save=["ln_f", "ln_1"] if family == "gpt2" else ["norm"]),
    "lora-bias-all": lambda family: lora(bias="all"),
    "lora-bias-lora-only": lambda family: lora(bias="lora_only"),
    "none": lambda family: None,
    "full": lambda family: None,
}

PROMPTS = ["prompt", "p-tuning-mlp", "p-tuning-lstm", "prefix", "prefix-projection"]
LORAS = ["lora", "lora-all-linear", "lora-rslora", "lora-dora", "lora-dora-all-linear", "lora-patterns", "lora-saved-norms"]

CASES = {
    "llama": ["none", *PROMPTS, *LORAS, "lora-saved-head", "full"],
    "gpt2": ["none", *PROMPTS, *LORAS, "lora-bias-all", "lora-bias-lora-only", "full"],
    "llama3": ["none", "prompt", "prefix", "lora", "lora-all-linear", "full"],
    "mistral": ["none", "prompt", "prefix", "lora", "lora-dora"],
    "qwen2": ["none", "prompt", "prefix", "lora", "lora-bias-all", "lora-bias-lora-only", "full"],
    "qwen3": ["none", "prompt", "prefix", "prefix-projection", "lora", "lora-all-linear", "full"],
}

GREEDY = {"none", "lora", "prompt", "prefix"}
BF16 = {"lora", "prompt", "prefix"}
BF16_FAMILIES = {"llama", "gpt2"}
