from peft import PrefixTuningConfig
from stem import Case

CASES = {
    "prefix": Case(lambda family: PrefixTuningConfig(num_virtual_tokens=5), greedy=True, bf16=True),
    "prefix-projection": Case(
        lambda family: PrefixTuningConfig(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=12)
    ),
}
