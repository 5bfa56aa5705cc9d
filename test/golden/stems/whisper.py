"""Whisper: stacks of different depths and widths, with random encoder positions. Also its encoder with a
classification head.

The latter from complete files, and from files without a decoder.
"""

from stem import Family
from transformers import WhisperConfig


def config(**more) -> WhisperConfig:
    return WhisperConfig(
        vocab_size=72,
        num_mel_bins=6,
        d_model=16,
        encoder_layers=2,
        encoder_ffn_dim=24,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_ffn_dim=20,
        decoder_attention_heads=2,
        max_source_positions=10,
        max_target_positions=24,
        # The row of the padding id does not train, and no batch contains that id.
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=2,
        bos_token_id=0,
        begin_suppress_tokens=None,
        **more,
    )


def labels(**more) -> Family:
    return Family(
        lambda: config(classifier_proj_size=12, **more), cases=(), task="audio_cls", learning_rate=5e-3, bf16=True
    )


FAMILIES = {
    "whisper": Family(config, cases=(), task="speech_seq_2_seq", learning_rate=2e-3, bf16=True),
    "whisper-audio": labels(),
    "whisper-labels-sum": labels(
        architectures=["WhisperForAudioClassification"], num_labels=3, use_weighted_layer_sum=True
    ),
    "whisper-labels": labels(architectures=["WhisperForAudioClassification"], num_labels=3),
}
