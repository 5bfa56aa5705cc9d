"""ModernBERT: layers with local or global attention, each with its own RoPE base. Its files contain the masked
language modeling head.
"""

from peft import PromptTuningConfig
from stem import Case, Family, load
from transformers import ModernBertConfig

seq_cls = load("seq_cls")
token_cls = load("token_cls")
question_ans = load("question_ans")
feature_extraction = load("feature_extraction")


def config(**more):
    return ModernBertConfig(
        **{
            "vocab_size": 90,
            "hidden_size": 24,
            "intermediate_size": 20,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "max_position_embeddings": 64,
            "local_attention": 6,
            "global_attn_every_n_layers": 2,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 500.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            },
            **more,
        }
    )


FAMILIES = {
    "modernbert": Family(config, cases=(), task="seq_cls", bf16=True, learning_rate=5e-3),
    # Mean pooling, and all optional biases.
    "modernbert-biased": Family(
        lambda: config(
            num_hidden_layers=2,
            classifier_pooling="mean",
            classifier_bias=True,
            norm_bias=True,
            attention_bias=True,
            mlp_bias=True,
        ),
        cases=(),
        task="seq_cls",
        learning_rate=5e-3,
    ),
}


def lora(**more):
    """LoRA config with targets, because PEFT has no default ones for ModernBERT."""
    return seq_cls.lora(**{"target_modules": ["Wqkv"], **more})


CASES = {
    "cls-lora-gated": seq_cls.labelled(lambda: lora(target_modules=["Wqkv", "Wi"]), families=("modernbert",), merges=True, bf16=True),
    # Also trains the linear layer and the norm of the masked language modeling head.
    "cls-lora-mean": seq_cls.labelled(
        lambda: lora(target_modules="all-linear", modules_to_save=["head.norm"]), families=("modernbert-biased",), merges=True
    ),
    "cls-prompt-mean": seq_cls.labelled(lambda: PromptTuningConfig(num_virtual_tokens=3), families=("modernbert-biased",)),
    "tag-lora-gated": Case(
        lambda family: lora(target_modules=["Wo"]),
        families=("modernbert",),
        task="token_cls",
        options={"labels": token_cls.NAMES},
    ),
    # PEFT assumes another name for the question answering head, so it must be set.
    "span-lora-gated": Case(
        lambda family: lora(modules_to_save=["classifier"]),
        families=("modernbert",),
        task="question_ans",
        options=question_ans.OPTIONS,
    ),
    "embed-lora-gated": feature_extraction.vectors(lambda: lora(target_modules="all-linear"), families=("modernbert",)),
}
