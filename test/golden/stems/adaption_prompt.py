"""Adaption prompts in the last layers, with one key head per query head or per group, and with GPT-2's fused
projection.
"""

import torch
from peft import AdaptionPromptConfig
from stem import Case

CASES = {
    "adaption-prompt": Case(
        lambda family: AdaptionPromptConfig(adapter_len=4, adapter_layers=1 if family == "llama" else 2),
        families=("llama", "gpt2"),
        greedy=True,
        bf16=True,
    ),
}

# The gate starts at zero, where prompts get no gradient.
NOISE = {"adaption_gate": lambda parameter, noise: parameter.copy_(0.5 + 0.1 * noise.clamp(-1, 1))}
