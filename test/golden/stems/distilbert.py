"""DistilBERT: no token types, no pooler. PEFT has no default targets for it."""

from stem import Family, load
from transformers import DistilBertConfig

seq_cls = load("seq_cls")

FAMILIES = {
    "distilbert": Family(
        lambda: DistilBertConfig(
            vocab_size=90,
            dim=32,
            hidden_dim=64,
            n_layers=1,
            n_heads=4,
            max_position_embeddings=48,
            dropout=0.0,
            attention_dropout=0.0,
            qa_dropout=0.0,
            seq_classif_dropout=0.0,
        ),
        cases=(),
        task="seq_cls",
        learning_rate=5e-3,
    ),
}

CASES = {
    "cls-lora-lin": seq_cls.labelled(
        lambda: seq_cls.lora(target_modules=["q_lin", "v_lin"]), families=("distilbert",), merges=True
    ),
}
