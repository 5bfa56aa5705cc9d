"""Cartridges with frozen first tokens, which only the adapter's file contains, and without."""

from peft import CartridgeConfig
from stem import Case

CASES = {
    "cartridge": Case(
        lambda family: CartridgeConfig(num_virtual_tokens=5, num_frozen_tokens=2), families=("llama",), greedy=True, bf16=True
    ),
    "cartridge-free": Case(
        lambda family: CartridgeConfig(num_virtual_tokens=3, num_frozen_tokens=0), families=("qwen2",)
    ),
}
