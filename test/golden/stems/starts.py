"""LoRA's data-driven and quantized initializations: results of PEFT's preprocessing on a tiny base, and the trained
adapter.

Each is a folder of `starts/`. The base and the batches are a family's.
"""

import dataclasses
import importlib.util
import json
import pathlib
import shutil
import sys
import tempfile
from unittest import mock

# PEFT imports one name of this package, which is not one of its dependencies
sys.modules.setdefault("attr", dataclasses)

import torch
from families import load_base
from measure import TRAINING, copies, loss_and_gradients, padded, real_logits, train
from peft import LoraConfig, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora import layer, loraga
from peft.tuners.lora.config import CordaConfig, EvaConfig, LoraGAConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.utils import loftq_utils
from safetensors.torch import save_file
from stem import load

HERE = pathlib.Path(__file__).resolve().parents[1]


def lora(init: str, **fields) -> LoraConfig:
    # LoftQ checks for SciPy, but does not use it
    with mock.patch.object(importlib.util, "find_spec", lambda name: name):
        return LoraConfig(**{"r": 4, "lora_alpha": 6, "init_lora_weights": init, "task_type": "CAUSAL_LM", **fields})


def eva(base, config, batches):
    model = get_peft_model(base, config)
    initialize_lora_eva_weights(model, [padded(batch) for batch in batches], show_progress_bar=False)
    return model


def corda(base, config, batches):
    """CorDA with PEFT's hook, which accepts one sample at a time."""

    def run_model() -> None:
        for batch in batches:
            for sequence in batch:
                base(input_ids=torch.tensor([sequence["tokens"]]))

    preprocess_corda(base, config, run_model)
    return get_peft_model(base.train(), config)


def flipped(matrix, q=6, niter=2, M=None):
    """torch.svd_lowrank by a full decomposition, with signs that make the largest element of each vector of V positive.
    """
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    signs = torch.sign(vh.gather(1, vh.abs().argmax(1, keepdim=True)))
    return u[:, :q] * signs.T[:, :q], s[:q], (vh * signs)[:q].T


def lora_ga(base, config, batches):
    def train_step() -> None:
        for batch in batches:
            base(**padded(batch)).loss.backward()

    loraga.preprocess_loraga(base, config, train_step)
    with mock.patch.object(torch, "svd_lowrank", flipped):
        return get_peft_model(base, config)


def loftq(base, config, batches):
    """LoftQ on the CPU; PEFT requires a GPU."""
    text = pathlib.Path(loftq_utils.__file__).read_text().replace('else "cuda"', 'else "cpu"')
    # bitsandbytes' function uses another block's scale on some processors (nf4.py)
    text = text.replace("bnb.functional.dequantize_4bit(qweight.data, qweight.quant_state)", "dequantized(qweight)")
    names: dict = {"__name__": "loftq_on_cpu", "dequantized": load("nf4").dequantized}
    exec(compile(text, "loftq_on_cpu", "exec"), names)
    with mock.patch.object(layer, "loftq_init", names["loftq_init"]):
        return get_peft_model(base, config)


QDOWN = ["q_proj", "v_proj", "down_proj"]
STARTS = {
    "eva": ("llama", eva, lambda: lora("eva", r=2, target_modules="all-linear", eva_config=EvaConfig())),
    # PEFT 0.21.2 whitens twice if linear layers share an input; these do not
    "eva-even": (
        "llama",
        eva,
        lambda: lora("eva", target_modules=["o_proj", "down_proj"], eva_config=EvaConfig(rho=1.0, whiten=True, use_label_mask=False)),
    ),
    "eva-gpt2": (
        "gpt2",
        eva,
        lambda: lora(
            "eva",
            target_modules=["c_attn", "mlp.c_proj"],
            rank_pattern={"c_attn": 2},
            use_rslora=True,
            eva_config=EvaConfig(rho=1.5, tau=0.9, adjust_scaling_factors=False),
        ),
    ),
    "corda": ("llama", corda, lambda: lora("corda", target_modules=QDOWN, corda_config=CordaConfig())),
    "corda-kpm": (
        "gpt2",
        corda,
        lambda: lora("corda", target_modules=["c_attn"], corda_config=CordaConfig(corda_method="kpm")),
    ),
    # the smaller side of each matrix is four times the rank, so PEFT's random decomposition is exact
    "lora-ga": (
        "llama",
        lora_ga,
        lambda: lora("lora_ga", r=8, target_modules=["q_proj", "down_proj"], lora_ga_config=LoraGAConfig()),
    ),
    "lora-ga-first": (
        "gpt2",
        lora_ga,
        lambda: lora(
            "lora_ga",
            r=8,
            target_modules=["mlp.c_proj"],
            lora_ga_config=LoraGAConfig(direction="A2rBr", stable_gamma=4),
        ),
    ),
    "lora-ga-turns": (
        "llama",
        lora_ga,
        lambda: lora(
            "lora_ga",
            r=8,
            lora_alpha=1,
            target_modules=["k_proj", "up_proj"],
            lora_ga_config=LoraGAConfig(direction="ArBr", scale="weight_svd"),
        ),
    ),
    "lora-ga-steps": (
        "llama",
        lora_ga,
        lambda: lora(
            "lora_ga",
            r=8,
            target_modules=["q_proj"],
            lora_ga_config=LoraGAConfig(direction="A2rBr", scale="gd_scale"),
        ),
    ),
    "loftq": (
        "llama",
        loftq,
        lambda: lora("loftq", target_modules=QDOWN, loftq_config={"loftq_bits": 4, "loftq_iter": 1}),
    ),
    "loftq-again": (
        "llama",
        loftq,
        lambda: lora(
            "loftq", target_modules=["q_proj", "v_proj"], use_rslora=True, loftq_config={"loftq_bits": 4, "loftq_iter": 3}
        ),
    ),
    # one iteration: a value in the middle between two codes would change all later ones
    "loftq-int8": (
        "llama",
        loftq,
        lambda: lora("loftq", target_modules=["q_proj"], loftq_config={"loftq_bits": 8, "loftq_iter": 1}),
    ),
}
CONVERTED = ("corda", "lora_ga")


def write_start(name: str) -> None:
    family, start, config = STARTS[name]
    folder = HERE / "starts" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    batches = json.loads((HERE / family / "batches.json").read_text())
    torch.manual_seed(1)
    model = start(load_base(HERE / family / "base"), config(), batches).train()
    init = model.peft_config["default"].init_lora_weights
    begun = copies(model)
    logits = real_logits(model, batches[0])
    loss, gradients = loss_and_gradients(model, batches[0])
    tensors = {f"start.{key}": value for key, value in begun.items()}
    tensors |= {"logits": logits[:16], "loss": torch.tensor(loss)}
    tensors |= {f"grad.{key}": value for key, value in gradients.items() if value.any()}
    with tempfile.TemporaryDirectory() as before:
        first = pathlib.Path(before, "initial")
        model.save_pretrained(first)
        settings = {**TRAINING, "learning_rate": 2e-3}
        history = train(model, batches, settings)
        (folder / "trajectory.json").write_text(json.dumps({"family": family, "settings": settings, **history}, indent=1) + "\n")
        how = {"path_initial_model_for_weight_conversion": str(first)} if init in CONVERTED else {}
        # the config of the job, and the one that PEFT writes
        config().save_pretrained(before)
        (folder / "asked.json").write_text(pathlib.Path(before, "adapter_config.json").read_text())
        saved = pathlib.Path(before, "saved")
        model.save_pretrained(saved, **how)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(saved / file, folder / file)
    save_file({key: tensor.float().clone().contiguous() for key, tensor in tensors.items()}, folder / "golden.safetensors")
    print("starts", name, loss, history["losses"][-1], flush=True)


def write_starts() -> None:
    for name in STARTS:
        write_start(name)


FILES = {"starts": write_starts}
