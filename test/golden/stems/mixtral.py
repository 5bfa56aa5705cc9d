"""Mixtral: four experts, two of them active per token, and a sliding window."""

from families import SHAPE, rope
from peft import LoraConfig
from stem import Case, Family
from transformers import MixtralConfig

SHAPE = {**SHAPE, "hidden_size": 16, "intermediate_size": 10, "num_attention_heads": 4, "num_key_value_heads": 2}

FAMILIES = {
    "mixtral": Family(
        lambda: MixtralConfig(
            **SHAPE,
            num_local_experts=4,
            num_experts_per_tok=2,
            rms_norm_eps=1e-5,
            sliding_window=6,
            rope_parameters=rope(1e6),
        ),
        cases=("none", "full"),
        bf16=("lora-attention", "lora-experts"),
    )
}

CASES = {
    # PEFT maps "all-linear", and names of experts' matrices, to the experts' parameters. It has no default targets.
    "lora-attention": Case(
        lambda family: LoraConfig(
            r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], lora_dropout=0.0
        ),
        families=("mixtral", "qwen3_moe"),
        merges=True,
        greedy=True,
        bf16=True,
    ),
    # Factors for each expert and for the router. The rank in the pattern is that of each expert.
    "lora-experts": Case(
        lambda family: LoraConfig(
            r=2,
            lora_alpha=3,
            target_modules=["v_proj"],
            target_parameters=["mlp.gate.weight", "experts.gate_up_proj", "down_proj"],
            rank_pattern={"experts.gate_up_proj": 3},
            alpha_pattern={"layers.1.mlp.gate.weight": 5},
        ),
        families=("mixtral",),
        merges=True,
        greedy=True,
        bf16=True,
    ),
    # PEFT maps former names of experts to parameters, with twice the rank if two were fused into one.
    "lora-experts-renamed": Case(
        lambda family: LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", use_rslora=True),
        families=("qwen3_moe",),
        merges=True,
    ),
    "lora-experts-alone": Case(
        lambda family: LoraConfig(r=2, target_modules=[], target_parameters=["experts.gate_up_proj"], bias="none"),
        families=("qwen3_moe",),
        merges=True,
    ),
}
