"""Multitask prompts of three tasks, which the sequences of a batch are of in turn (measure.py)."""

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

# A product of small numbers would leave a prompt of zeros.
NOISE = {part: lambda parameter, noise: parameter.copy_(0.7 * noise) for part in (".prefix_task_cols", ".prefix_task_rows")}
