"""Multitask prompt tuning with three tasks. The sequences of a batch cycle through them (measure.py)."""

from peft import MultitaskPromptTuningConfig
from stem import Case

CASES = {
    "multitask-prompt": Case(
        lambda family: MultitaskPromptTuningConfig(num_virtual_tokens=4, num_tasks=3, num_ranks=2),
        families=("llama",),
        greedy=True,
        bf16=True,
    ),
    "multitask-prompt-rank-one": Case(
        lambda family: MultitaskPromptTuningConfig(num_virtual_tokens=3, num_tasks=3), families=("gpt2",)
    ),
}

# A product of small values would be a prompt of almost zeros.
NOISE = {part: lambda parameter, noise: parameter.copy_(0.7 * noise) for part in (".prefix_task_cols", ".prefix_task_rows")}
