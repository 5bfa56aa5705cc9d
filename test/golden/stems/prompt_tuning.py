from peft import PromptTuningConfig
from stem import Case

CASES = {
    "prompt": Case(lambda family: PromptTuningConfig(num_virtual_tokens=5), greedy=True, bf16=True),
}
