"""RoBERTa, and XLM-R and CamemBERT, which have its architecture: positions start after the padding's, one token type,
a head with a hidden layer.
"""

from peft import IA3Config
from stem import Family, load
from transformers import CamembertConfig, RobertaConfig, XLMRobertaConfig

seq_cls = load("seq_cls")

SHAPE = dict(
    vocab_size=90,
    hidden_size=32,
    intermediate_size=64,
    num_attention_heads=4,
    max_position_embeddings=42,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)

FAMILIES = {
    "roberta": Family(
        lambda: RobertaConfig(**SHAPE, num_hidden_layers=1),
        cases=("cls-lora", "cls-prompt"),
        task="seq_cls",
        learning_rate=5e-3,
    ),
    "camembert": Family(
        lambda: CamembertConfig(**{**SHAPE, "hidden_size": 16, "intermediate_size": 24}, num_hidden_layers=1),
        cases=("cls-prompt",),
        task="seq_cls",
        learning_rate=5e-3,
    ),
    "xlm-roberta": Family(
        lambda: XLMRobertaConfig(**SHAPE, num_hidden_layers=1),
        cases=("cls-lora",),
        task="seq_cls",
        learning_rate=5e-3,
    ),
}

CASES = {
    # PEFT cannot merge (IA)³ if the head has several modules.
    "cls-ia3-unmerged": seq_cls.labelled(IA3Config, families=("roberta",)),
}
