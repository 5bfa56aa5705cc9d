"""Context-aware prompt tuning: two examples in the prompt, with label losses that decay with age or are equal."""

import measure
import torch
from peft import CPTConfig
from stem import Case

TOKEN_IDS = [5, 17, 42, 8, 23, 9, 31, 60, 12, 7]
# format, input, format and label of the first example; then of the second
TYPES = [1, 2, 2, 3, 4, 5, 6, 7, 8, 8]


def project(model) -> None:
    encoder = model.prompt_encoder["default"]
    encoder.delta_embedding.weight.data = encoder.get_projection()


def prepared(model):
    """Returns an initial state that training can reach: label tokens and tokens of type 0 unchanged, the others
    projected.
    """
    encoder = model.prompt_encoder["default"]
    with torch.no_grad():
        encoder.delta_embedding.weight *= torch.tensor(encoder.config.cpt_tokens_type_mask)[:, None] % 4 != 0
    project(model)
    return model


def optimizer(model, settings):
    """Projects after each step. PEFT projects before each forward pass, which is the same, but leaves the last step
    unprojected.
    """
    adamw = measure.adamw(model, settings)
    adamw.register_step_post_hook(lambda *_: project(model))
    return adamw


def config(**options):
    return CPTConfig(task_type="CAUSAL_LM", cpt_token_ids=TOKEN_IDS, **options)


CASES = {
    "cpt": Case(
        lambda family: config(
            cpt_tokens_type_mask=TYPES,
            opt_weighted_loss_type="decay",
            opt_loss_decay_factor=0.7,
            opt_projection_epsilon=0.2,
            opt_projection_format_epsilon=0.05,
        ),
        families=("llama", "llama3", "gpt_neox"),
        greedy=True,
        bf16=True,
        prepare=prepared,
        optimizer=optimizer,
    ),
    # The newest type is that of the first token, which is not predicted, so the weights start with the next type. One
    # token has type 0.
    "cpt-first": Case(
        lambda family: config(
            cpt_tokens_type_mask=[8, 2, 0, 3, 4, 1, 2, 3, 4, 3], opt_weighted_loss_type="decay", opt_loss_decay_factor=0.5
        ),
        families=("gpt2",),
        prepare=prepared,
        optimizer=optimizer,
    ),
}

NOISE = {"delta_embedding": lambda parameter, noise: parameter.copy_(0.01 * noise)}
