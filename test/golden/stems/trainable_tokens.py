from peft import TrainableTokensConfig
from stem import Case

CASES = {
    # llama3 has a tied head, which follows the embedding.
    "tokens": Case(
        lambda family: TrainableTokensConfig(token_indices=[7, 3, 40]),
        families=("llama", "llama3"),
        merges=True,
        greedy=True,
        bf16=True,
    ),
    "tokens-both": Case(
        lambda family: TrainableTokensConfig(token_indices=[7, 3], target_modules=["embed_tokens", "lm_head"]),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {"trainable_tokens_delta": lambda parameter, noise: parameter.add_(0.3 * noise)}
