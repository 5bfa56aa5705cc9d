"""FRoD: bases of weights that are tall when stacked, of weights that are flat, and of weights stored [in, out].

Files contain all of them. If a flat basis were computed again, it would depend on the processor, because the
directions orthogonal to the weights are arbitrary.

Not in bf16: a rounded base has another basis, in which the same parameters mean something else.
"""

from peft import FrodConfig
from stem import Case


def frod(**fields) -> FrodConfig:
    return FrodConfig(**{"sparse_rate": 0.05, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "frod": Case(lambda family: frod(), families=("llama",), merges=True, greedy=True),
    "frod-flat": Case(
        lambda family: frod(
            projection_prng_key=3,
            target_modules=["v_proj", "down_proj"],
            layers_to_transform=[1],
        ),
        families=("llama",),
        merges=True,
    ),
    "frod-conv1d": Case(
        lambda family: frod(
            sparse_rate=0.02, regularization_alpha=0.1, bias="frod_only", target_modules=["c_attn"], progressbar=False
        ),
        families=("gpt2",),
        merges=True,
    ),
}

NOISE = {
    ".frod_lambda_l.": lambda parameter, noise: parameter.mul_(1 + 0.1 * noise),
    ".frod_lambda_s_values.": lambda parameter, noise: parameter.copy_(0.3 * noise),
}
