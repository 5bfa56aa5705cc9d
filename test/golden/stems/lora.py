import functools
import pathlib
import re

import torch
from families import generator
from measure import adamw
from peft import LoraConfig
from peft.tuners.lora.config import BdLoraConfig, KasaConfig, MontecloraConfig, VeloraConfig
from peft.tuners.lora.monteclora import MontecloraSampler
from peft.optimizers import create_loraplus_optimizer, lorafa
from safetensors.torch import save_file
from philox import normal
from stem import Case


BOTH = ("llama", "gpt2")


def lora(**fields) -> LoraConfig:
    return LoraConfig(**{"r": 4, "lora_alpha": 6, **fields})


def patterns(family: str) -> LoraConfig:
    if family == "gpt2":
        return lora(
            target_modules=["c_attn", "mlp.c_proj"],
            rank_pattern={"h.1.attn.c_attn": 6, "mlp.c_proj": 2},
            alpha_pattern={"h.0.mlp.c_proj": 3, "c_attn": 5},
        )
    return lora(
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 6, "down_proj": 2},
        alpha_pattern={"layers.0.mlp.down_proj": 3, "q_proj": 5},
    )


PLUS = {"loraplus_lr_ratio": 8.0, "loraplus_lr_embedding": 2e-3}


def lora_plus(model, settings: dict) -> torch.optim.Optimizer:
    return create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=settings["learning_rate"],
        loraplus_weight_decay=settings["weight_decay"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        **PLUS,
    )


def lora_fa(model, settings: dict) -> torch.optim.Optimizer:
    """LoRA-FA in the model's precision. PEFT would convert B's gradient to bf16 if the processor supports it."""
    lorafa.is_bf16_available = lambda: False
    config = model.peft_config["default"]
    return lorafa.create_lorafa_optimizer(
        model, r=config.r, lora_alpha=config.lora_alpha, lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )


def with_kasa_loss(model):
    """Adds the penalty to the loss, which PEFT leaves to the user."""
    forward = model.forward

    def penalised(**inputs):
        outputs = forward(**inputs)
        if outputs.loss is not None:
            outputs.loss = outputs.loss + model.base_model._get_kasa_loss()
        return outputs

    model.forward = penalised
    return model


# Random numbers at lower offsets of a stream are used by dropout.
BEHIND_DROPOUT = 2**40
# Linear layers of a LLaMA layer, in the order of execution.
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def with_draws(model):
    """MonteCLoRA with Graft's random numbers of a step, and with its penalty in the loss, which PEFT leaves to the
    trainer.
    """
    model.drawn_at = {"step": 0}
    for path, sampler in model.named_modules():
        if isinstance(sampler, MontecloraSampler):
            layer, name = re.search(r"layers\.(\d+)\..*?(\w+)\.lora_monteclora_sampler", path).groups()
            site = len(LINEARS) * int(layer) + LINEARS.index(name)
            sampler.sampler.get = functools.partial(draws, sampler, site, model.drawn_at)
    forward = model.forward

    def penalised(**inputs):
        outputs = forward(**inputs)
        if outputs.loss is not None:
            outputs.loss = outputs.loss + model.base_model._get_monteclora_loss()
        return outputs

    model.forward = penalised
    return model


def draws(sampler, site: int, at: dict) -> dict[str, torch.Tensor]:
    n, features, r = sampler.num_samples, sampler.in_features, sampler.out_features
    offset = BEHIND_DROPOUT
    drawn = []
    for shape in ((n, features, r), (r, r), (n,)):
        drawn.append(normal(shape, seed=0, step=at["step"], site=site, offset=offset))
        offset += drawn[-1].numel()
    # only the diagonal of the Wishart draw is used
    return {"z_mvn": drawn[0], "z_wishart": torch.diag(drawn[1].square().sum(1)), "z_dirichlet": drawn[2]}


def counted(model, settings: dict) -> torch.optim.Optimizer:
    """AdamW that also counts the steps for the random numbers."""
    optimizer = adamw(model, settings)
    model.drawn_at["step"] = 0
    optimizer.register_step_post_hook(lambda *_: model.drawn_at.update(step=model.drawn_at["step"] + 1))
    return optimizer


def layers(family: str) -> LoraConfig:
    return lora(
        target_modules=["q_proj", "k_proj", "down_proj"],
        exclude_modules=["mlp.down_proj"],
        layers_to_transform=[1],
        layers_pattern="layers",
    )


CASES = {
    "lora": Case(lambda family: lora(), merges=True, greedy=True, bf16=True),
    "lora-all-linear": Case(lambda family: lora(target_modules="all-linear", lora_alpha=10), merges=True),
    "lora-rslora": Case(lambda family: lora(use_rslora=True, lora_alpha=3), merges=True),
    "lora-dora": Case(lambda family: lora(use_dora=True), merges=True),
    "lora-dora-all-linear": Case(lambda family: lora(use_dora=True, target_modules="all-linear", r=2), merges=True),
    "lora-patterns": Case(patterns, merges=True),
    "lora-saved-head": Case(lambda family: lora(modules_to_save=["lm_head"]), merges=True),
    # Names match as plain suffixes: on llama, "norm" also matches the two norms of each layer.
    "lora-saved-norms": Case(
        lambda family: lora(modules_to_save=["ln_f", "ln_1"] if family == "gpt2" else ["norm"]), merges=True
    ),
    "lora-bias-all": Case(lambda family: lora(bias="all"), merges=True),
    "lora-bias-lora-only": Case(lambda family: lora(bias="lora_only"), merges=True),
    "lora-layers": Case(layers, families=("llama",), merges=True),
    "lora-orthogonal": Case(lambda family: lora(init_lora_weights="orthogonal"), families=("llama",), merges=True),
    "lora-mica": Case(lambda family: lora(init_lora_weights="mica"), families=("llama",), merges=True),
    "lora-pissa": Case(lambda family: lora(init_lora_weights="pissa"), families=BOTH, merges=True, converts=True),
    "lora-olora": Case(
        lambda family: lora(init_lora_weights="olora", use_rslora=True, lora_alpha=1), families=("llama",), merges=True, converts=True
    ),
    # PEFT saves the base's matrices of modules with these two names, too. It merges a tied one into both.
    "lora-embedding": Case(
        lambda family: lora(target_modules=["q_proj", "embed_tokens", "lm_head"]), families=("llama",), merges=True
    ),
    "lora-embedding-tied": Case(lambda family: lora(target_modules=["c_attn", "wte"]), families=("gpt2",)),
    "lora-tokens": Case(lambda family: lora(trainable_token_indices=[7, 3, 40]), families=("llama",), merges=True),
    "lora-tokens-both": Case(
        lambda family: lora(trainable_token_indices={"embed_tokens": [7, 3], "lm_head": [9]}),
        families=("llama",),
        merges=True,
    ),
    # The tied head follows the embedding.
    "lora-tokens-tied": Case(lambda family: lora(trainable_token_indices=[7, 3, 40]), families=("llama3",), merges=True),
    "lora-saved-tied": Case(
        lambda family: lora(modules_to_save=["lm_head"], ensure_weight_tying=True), families=("llama3",), merges=True
    ),
    "lora-blocks": Case(
        lambda family: lora(
            target_modules=["q_proj", "o_proj", "down_proj"],
            use_bdlora=BdLoraConfig(
                target_modules_bd_a=["o_proj"], target_modules_bd_b=["q_proj"], nblocks=2, match_strict=False
            ),
        ),
        families=("llama",),
        merges=True,
    ),
    "lora-kasa": Case(
        lambda family: lora(kasa_config=KasaConfig(beta=0.01, gamma=0.02)),
        families=("llama",),
        merges=True,
        prepare=with_kasa_loss,
    ),
    # Seven groups: of 5 for the 32 inputs of q_proj, and of 10 for the 64 inputs of down_proj, padded.
    "lora-velora": Case(
        lambda family: lora(
            target_modules=["q_proj", "down_proj"],
            velora_config=VeloraConfig(num_groups=7, scale=0.8, init_type="random"),
        ),
        families=("llama",),
        merges=True,
    ),
    # Noise that is large enough to show.
    "lora-monteclora": Case(
        lambda family: lora(
            target_modules=["q_proj", "v_proj", "down_proj"],
            monteclora_config=MontecloraConfig(
                num_samples=3, use_entropy=True, dirichlet_prior=0.3, sample_scaler=0.05, kl_loss_weight=0.01
            ),
        ),
        families=("llama",),
        merges=True,
        prepare=with_draws,
        optimizer=counted,
    ),
    # Acts after the last occurrence of these tokens; not at all in a sequence without them. In the second case they
    # are in the prompt.
    "lora-activated": Case(
        lambda family: lora(alora_invocation_tokens=[53], target_modules=["q_proj", "down_proj"], lora_bias=True),
        families=("llama",),
    ),
    "lora-activated-chat": Case(
        lambda family: lora(alora_invocation_tokens=[23]), families=("llama",), greedy=True, trains=False
    ),
    # Only the optimizer differs.
    "lora-plus": Case(
        lambda family: lora(use_dora=True, target_modules=["q_proj", "v_proj"]),
        families=("llama",),
        optimizer=lora_plus,
        settings={**PLUS, "learning_rate": 2e-3},
    ),
    "lora-plus-embedding": Case(
        lambda family: lora(target_modules=["c_attn", "wte"]),
        families=("gpt2",),
        optimizer=lora_plus,
        settings={**PLUS, "learning_rate": 2e-3},
    ),
    "lora-fa": Case(
        lambda family: lora(use_rslora=True, modules_to_save=["norm"]),
        families=("llama",),
        optimizer=lora_fa,
        settings={"optimizer": "lorafa", "learning_rate": 2e-3},
    ),
    # PEFT does not merge a bias into a layer without one, as in llama.
    "lora-update-bias": Case(lambda family: lora(lora_bias=True), families=("llama",)),
    "lora-update-bias-merged": Case(lambda family: lora(lora_bias=True), families=("gpt2",), merges=True),
}


def away_from_zero(parameter, noise) -> None:
    if not parameter.any():
        parameter.copy_(0.1 * noise)


NOISE = {
    ".lora_embedding_A.": away_from_zero,
    ".lora_A.": away_from_zero,
    ".lora_B.": lambda parameter, noise: parameter.copy_(0.15 * noise),
    "lora_magnitude_vector": lambda parameter, noise: parameter.mul_(1 + 0.2 * noise),
}


def write_decompositions() -> None:
    """Results of torch.svd_lowrank, which PiSSA uses, for a matrix W [7, 12] and its transpose, with the random start.
    """
    tensors = {}
    for name, shape in {"tall": (12, 7), "wide": (7, 12)}.items():
        w = torch.randn(shape, generator=generator("lora-svd", name))
        for rounds in (0, 1, 4):
            torch.manual_seed(rounds)
            u, s, v = torch.svd_lowrank(w, 3, niter=rounds)
            torch.manual_seed(rounds)
            tensors |= {
                f"{name}.{rounds}.w": w,
                f"{name}.{rounds}.start": torch.randn(min(shape), 3),
                f"{name}.{rounds}.s": s,
                f"{name}.{rounds}.product": (u * s) @ v.T,
            }
    folder = pathlib.Path(__file__).resolve().parents[1] / "lora-svd"
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, folder / "low-rank.safetensors")


FILES = {"lora-svd": write_decompositions}
