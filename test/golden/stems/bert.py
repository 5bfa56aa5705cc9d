"""BERT: an encoder with norms after the residuals, token types and a pooler. Names in its files have no model prefix.
"""

from stem import Family
from transformers import BertConfig

FAMILIES = {
    "bert": Family(
        lambda: BertConfig(
            vocab_size=90,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=48,
            type_vocab_size=2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        cases=(),
        task="seq_cls",
        bf16=True,
        learning_rate=5e-3,
    ),
}
