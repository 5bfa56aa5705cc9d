"""wav2vec 2.0: norms after the residuals with one norm of the convolutions, over time; and before them with one each."""

from stem import Family
from transformers import Wav2Vec2Config


def config(**more) -> Wav2Vec2Config:
    return Wav2Vec2Config(
        **{
            "vocab_size": 7,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "conv_dim": [6, 8, 10],
            "conv_kernel": [5, 3, 2],
            "conv_stride": [3, 2, 2],
            "num_conv_pos_embeddings": 6,
            "num_conv_pos_embedding_groups": 4,
            "classifier_proj_size": 12,
            "pad_token_id": 0,
            "apply_spec_augment": False,
            "layerdrop": 0.0,
            **{f"{name}_dropout": 0.0 for name in ("hidden", "activation", "attention", "feat_proj", "final")},
            **more,
        }
    )


FAMILIES = {
    "wav2vec2": Family(config, cases=(), task="audio_cls", learning_rate=5e-3, bf16=True),
    "wav2vec2-stable": Family(
        lambda: config(do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, num_conv_pos_embeddings=5),
        cases=(),
        task="audio_cls",
        learning_rate=5e-3,
    ),
}
