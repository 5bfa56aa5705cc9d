"""Audio Spectrogram Transformer: patches that overlap more along frequency than along time, and do not cover the edges.
"""

from stem import Family
from transformers import ASTConfig

FAMILIES = {
    "audio-spectrogram-transformer": Family(
        lambda: ASTConfig(
            max_length=15,
            num_mel_bins=11,
            patch_size=4,
            frequency_stride=2,
            time_stride=3,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        cases=(),
        task="audio_cls",
        learning_rate=5e-3,
        bf16=True,
    )
}
