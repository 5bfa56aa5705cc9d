"""BART: scaled embeddings, a bias of the logits, and a decoder with another depth and width than the encoder."""

import pathlib

import torch
from families import generator
from safetensors.torch import load_file, save_file
from stem import Family
from transformers import BartConfig


# Otherwise cross-attention would outweigh the target so far, and a continuation would repeat one token.
SCALES = {"self_attn.out_proj.weight": 4, "encoder_attn.out_proj.weight": 0.3, "fc2.weight": 3}


def convert(folder: pathlib.Path) -> None:
    """Initializes the bias of the logits: it is a buffer, so it is not drawn with the parameters."""
    tensors = load_file(folder / "model.safetensors")
    shape = tensors["final_logits_bias"].shape
    tensors["final_logits_bias"] = 0.5 * torch.randn(shape, generator=generator("bart", "final_logits_bias"))
    for part, scale in SCALES.items():
        tensors[f"model.decoder.layers.0.{part}"] *= scale
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


FAMILIES = {
    "bart": Family(
        lambda: BartConfig(
            d_model=16,
            encoder_layers=2,
            encoder_ffn_dim=24,
            encoder_attention_heads=2,
            decoder_layers=1,
            decoder_ffn_dim=20,
            decoder_attention_heads=2,
            max_position_embeddings=40,
            vocab_size=72,
            scale_embedding=True,
            dropout=0.0,
            # The row of the padding id does not train, and no batch contains that id.
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=2,
            bos_token_id=3,
        ),
        cases=("none", "prompt", "prefix", "lora", "full"),
        task="seq_2_seq_lm",
        learning_rate=2e-3,
        convert=convert,
    ),
}
