"""Tiny random base models: one per family, small enough to commit.

Weights are drawn so that a wrong formula shows: projections have a standard deviation of 0.3 (attention is peaked,
logits spread over several units), norms are not 1, biases are not 0.
"""

import hashlib
import json
import pathlib

import torch
from transformers import (
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoModelForCTC,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
)

# Sizes of the bases that are similar to LLaMA.
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


def generator(*parts: object) -> torch.Generator:
    """Returns a random generator for a name, so that a new case does not change others."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def is_norm(name: str) -> bool:
    return any(part.lower().endswith("norm") or part.startswith(("ln_", "norm_", "layernorm_")) for part in name.split("."))


# Some encoders can also run as decoders. Here they run as encoders.
ENCODERS = ("albert", "bert", "camembert", "distilbert", "roberta", "xlm-roberta")

# Encoders of images.
PICTURES = ("deit", "dinov2", "dinov2_with_registers", "siglip", "vit")
# Encoders of audio.
SOUNDS = ("audio-spectrogram-transformer", "wav2vec2")


# Bases whose files contain the masked language modeling head. Task heads start from parts of it.
MASKED = ("modernbert",)
SPEECH = ("whisper",)
# Bases whose files contain the CTC head.
SPELLS = "Wav2Vec2ForCTC"
# Bases whose files contain only the encoder and a classification head.
LABELS = "WhisperForAudioClassification"


def auto_class(config):
    if config.model_type in MASKED:
        return AutoModelForMaskedLM
    if SPELLS in (config.architectures or ()):
        return AutoModelForCTC
    if LABELS in (config.architectures or ()):
        return AutoModelForAudioClassification
    if config.model_type in ENCODERS + PICTURES + SOUNDS:
        return AutoModel
    if config.model_type in SPEECH:
        return AutoModelForSpeechSeq2Seq
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def write_base(family: str, config, folder: pathlib.Path) -> None:
    """Writes config.json and model.safetensors (f32) with Transformers."""
    model = auto_class(config).from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator(family, name))
            counts_from_one = config.model_type.startswith("gemma")
            middle = 1.0 if is_norm(name) and name.endswith(".weight") and not counts_from_one else 0.0
            parameter.copy_(0.3 * noise + middle)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def load_base(folder: pathlib.Path, dtype: torch.dtype = torch.float32, auto: type | None = None, **fields):
    """Loads a base without a name, so that an adapter's base_model_name_or_path is null on every machine."""
    encoder_decoder = json.loads((folder / "config.json").read_text()).get("is_encoder_decoder", False)
    kind = auto or (AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM)
    # A head that is missing from the files is initialized randomly.
    torch.manual_seed(0)
    model = kind.from_pretrained(folder, dtype=dtype, **fields)
    if hasattr(model.config, "num_experts_per_tok"):
        # the grouped matrix product of experts does not support double precision
        model.set_experts_implementation("eager")
    model.name_or_path = ""
    model.config._name_or_path = ""
    return model.train()


def write_batches(path: pathlib.Path, batches: list[list[dict]]) -> None:
    lines = [",\n".join("  " + json.dumps(sequence) for sequence in batch) for batch in batches]
    path.write_text("[\n" + ",\n".join(f" [\n{line}\n ]" for line in lines) + "\n]\n")
