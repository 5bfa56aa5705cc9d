"""wav2vec 2.0: norms after the residuals with a group norm in the first convolution, and norms before them with a
layer norm in each.

Also the methods that PEFT supports on 1D convolutions, without the positional one, into which PEFT cannot merge.
"""

from peft import HiraConfig, LoHaConfig, LoKrConfig
from stem import Family, load
from transformers import Wav2Vec2Config

audio_cls = load("audio_cls")


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


STABLE = dict(do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, num_conv_pos_embeddings=5)


def summed(**more) -> Family:
    return Family(
        lambda: config(use_weighted_layer_sum=True, **more), cases=(), task="audio_cls", learning_rate=5e-3, bf16=True
    )


FAMILIES = {
    "wav2vec2-sum": summed(),
    "wav2vec2-stable-sum": summed(**STABLE),
    "wav2vec2": Family(config, cases=(), task="audio_cls", learning_rate=5e-3, bf16=True),
    "wav2vec2-stable": Family(
        lambda: config(**STABLE),
        cases=(),
        task="audio_cls",
        learning_rate=5e-3,
    ),
}


def convolved(config, families=("wav2vec2",), **options):
    """Config that targets two convolutions and a linear layer."""
    targets = {
        "target_modules": ["conv_layers.0.conv", "conv_layers.1.conv", "q_proj"],
        "modules_to_save": ["projector", "classifier"],
    }
    return audio_cls.heard(lambda: config(**{**targets, **options}), families=families, merges=True)


CASES = {
    "sound-conv-lora": convolved(audio_cls.lora, families=("wav2vec2", "wav2vec2-stable")),
    # not the first convolution: its channels are normalized over time, so their scale has no effect
    "sound-conv-dora": convolved(
        audio_cls.lora, use_dora=True, lora_alpha=5, target_modules=["conv_layers.1.conv", "conv_layers.2.conv"]
    ),
    "sound-conv-hira": convolved(HiraConfig, r=2),
    "sound-conv-loha": convolved(LoHaConfig, r=2, alpha=6),
    # at this rank, D is whole in both
    "sound-conv-lokr": convolved(LoKrConfig, r=2, alpha=6),
    "sound-conv-lokr-thin": convolved(LoKrConfig, r=1, alpha=3),
    "sound-conv-lokr-core": convolved(
        LoKrConfig, r=2, alpha=3, decompose_factor=1, use_effective_conv2d=True, target_modules=["conv_layers.1.conv"]
    ),
}
