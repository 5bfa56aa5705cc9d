"""The tiny random base models: one of each family, small enough to commit.

Weights are drawn so that a wrong formula shows: projections have a standard deviation of 0.3
(attention is peaked, logits spread over several units), norms are not 1, biases are not 0.
"""

import hashlib
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

SHAPE = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    vocab_size=96,
    bos_token_id=1,
    eos_token_id=2,
)


def rope(theta: float, **scaling) -> dict:
    return {"rope_type": "default", "rope_theta": theta, **scaling}


CONFIGS = {
    "llama": lambda: LlamaConfig(**SHAPE, rms_norm_eps=1e-5, rope_parameters=rope(10000.0)),
    # Frequencies fall on both sides of the llama3 ramp and inside it, and positions go beyond 16.
    "llama3": lambda: LlamaConfig(
        **{**SHAPE, "num_hidden_layers": 3},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters=rope(
            500.0,
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
    ),
    "mistral": lambda: MistralConfig(
        **{**SHAPE, "num_hidden_layers": 3, "vocab_size": 112}, rms_norm_eps=1e-5, sliding_window=6, rope_parameters=rope(10000.0)
    ),
    "qwen2": lambda: Qwen2Config(**SHAPE, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(1e6)),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=12, rms_norm_eps=1e-6, tie_word_embeddings=False, rope_parameters=rope(1e6)),
    "gpt2": lambda: GPT2Config(
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
}


def generator(*parts: object) -> torch.Generator:
    """A random stream of its own for each name, so that adding a case changes no other."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def is_norm(name: str) -> bool:
    return any(part.endswith("norm") or part.startswith("ln_") for part in name.split("."))


def write_base(family: str, folder: pathlib.Path) -> None:
    """config.json and model.safetensors (f32), as transformers writes them."""
    model = AutoModelForCausalLM.from_config(CONFIGS[family](), dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator(family, name))
            parameter.copy_(0.3 * noise + (1.0 if is_norm(name) and name.endswith(".weight") else 0.0))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def load_base(folder: pathlib.Path, dtype: torch.dtype = torch.float32):
    """The base with no name, so that an adapter's base_model_name_or_path is null on every machine."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.name_or_path = ""
    model.config._name_or_path = ""
    return model.train()


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    """Batches of {tokens, labels}; labels as HF has them: unshifted, -100 where unsupervised.

    In turn a sequence is supervised everywhere, after a prompt, or on two separate stretches.
    """
    stream = generator(family, "batches")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    batches = []
    for _ in range(count):
        batch = []
        for kind in range(4):
            length = draw(5, 25)
            tokens = torch.randint(3, vocabulary, (length,), generator=stream).tolist()
            labels = list(tokens)
            if kind % 3 == 1:
                cut = draw(1, length - 1)
                labels[:cut] = [-100] * cut
            if kind % 3 == 2:
                cut = draw(1, length - 3)
                labels[cut : cut + 2] = [-100, -100]
                labels[0] = -100
            batch.append({"tokens": tokens, "labels": labels})
        batches.append(batch)
    return batches


def write_batches(path: pathlib.Path, batches: list[list[dict]]) -> None:
    lines = [",\n".join("  " + json.dumps(sequence) for sequence in batch) for batch in batches]
    path.write_text("[\n" + ",\n".join(f" [\n{line}\n ]" for line in lines) + "\n]\n")
