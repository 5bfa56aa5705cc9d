from stem import Family
from transformers import GPT2Config

FAMILIES = {
    "gpt2": Family(
        lambda: GPT2Config(
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=40,
            vocab_size=128,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        cases=(
            *("none", "prompt", "p-tuning-mlp", "p-tuning-lstm", "prefix", "prefix-projection", "lora", "lora-all-linear"),
            *("lora-rslora", "lora-dora", "lora-dora-all-linear", "lora-patterns", "lora-saved-norms"),
            *("lora-bias-all", "lora-bias-lora-only", "full"),
        ),
        bf16=True,
    )
}
