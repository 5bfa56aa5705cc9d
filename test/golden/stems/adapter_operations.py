"""PEFT's operations on existing adapters: weighted combinations, and conversions of the methods' own cases to LoRA."""

import json
import pathlib
import shutil
import tempfile

import torch
from families import generator, load_base
from peft import LoraConfig, PeftModel, convert_to_lora, get_peft_model
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent.parent
FOLDER = HERE / "adapter-operations"

ADAPTERS = {
    "a": dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"]),
    "b": dict(r=4, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj"]),
    "c": dict(r=2, lora_alpha=5, target_modules=["v_proj", "down_proj"], rank_pattern={"layers.1.mlp.down_proj": 3}),
    "d": dict(r=3, lora_alpha=4, target_modules=["embed_tokens", "q_proj"]),
}

SEED = 7
COMBINATIONS = {
    "linear": ("ab", [0.7, -0.4], {}),
    "linear-one": ("a", [0.5], {}),
    "cat": ("abc", [0.7, -0.4, 1.5], {}),
    "cat-embedding": ("ad", [0.7, 0.6], {}),
    "svd": ("abc", [0.7, 0.4, 1.5], {}),
    "svd-rank": ("ad", [0.7, 0.4], {"svd_rank": 2}),
    "ties": ("ab", [0.7, 0.4], {"density": 0.6}),
    "ties-frequency": ("ab", [0.7, 0.4], {"density": 0.35, "majority_sign_method": "frequency"}),
    "ties_svd": ("abc", [0.7, -0.4, 1.5], {"density": 0.6}),
    "dare_linear": ("ab", [0.7, 0.4], {"density": 0.6}),
    "dare_ties": ("ab", [0.7, 0.4], {"density": 0.6}),
    "dare_linear_svd": ("ab", [0.7, 0.4], {"density": 0.6, "svd_rank": 3}),
    "dare_ties_svd": ("ab", [0.7, 0.4], {"density": 0.6, "majority_sign_method": "frequency"}),
    "magnitude_prune": ("ab", [0.7, -0.4], {"density": 0.6}),
    "magnitude_prune_svd": ("abc", [0.7, 0.4, 1.5], {"density": 0.5}),
}

# The rank must not separate equal singular values. FourierFT's come in pairs, C3A's in pairs next to a single one.
RANK = 4
RANKS = {"llama/c3a": 3}
THRESHOLD = 0.9
CONVERTED = [
    "llama/c3a",
    "llama/delora",
    "llama/fourierft",
    "llama/gralora",
    "llama/loha",
    "llama/lokr",
    "llama/lora-saved-head",
    "llama/miss",
    "llama/psoft",
    "llama/tinylora",
    "llama/unilora",
    "llama/vblora",
    "llama/vera",
    "llama/waveft",
    "gpt2/vera-conv1d",
    "gpt2/lora-pissa/converted",
]


def combined(name: str, base: str = "llama") -> PeftModel:
    letters, weights, options = COMBINATIONS[name]
    first, *others = letters
    model = PeftModel.from_pretrained(load_base(HERE / base / "base", torch.float32), FOLDER / first, first)
    for other in others:
        model.load_adapter(FOLDER / other, other)
    # a separate generator, so that the initialization of the new adapter does not change the masks
    masks = torch.Generator().manual_seed(SEED)
    bernoulli = torch.bernoulli
    torch.bernoulli = lambda p: bernoulli(p, generator=masks)
    try:
        kind = name.partition("-")[0]
        model.add_weighted_adapter(list(letters), weights, "new", combination_type=kind, **options)
    finally:
        torch.bernoulli = bernoulli
    return model


def factors(model: PeftModel, adapter: str) -> dict[str, torch.Tensor]:
    found = {}
    for path, module in model.base_model.model.named_modules():
        if adapter in getattr(module, "lora_A", {}):
            a, b = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        elif adapter in getattr(module, "lora_embedding_A", {}):
            a, b = module.lora_embedding_A[adapter], module.lora_embedding_B[adapter]
        else:
            continue
        found |= {f"{path}.A": a.data.clone().contiguous(), f"{path}.B": b.data.clone().contiguous()}
    return found


def write() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, fields in ADAPTERS.items():
        model = get_peft_model(load_base(HERE / "llama" / "base", torch.float32), LoraConfig(task_type="CAUSAL_LM", **fields))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if ".lora_" in key:
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator("combined", name, key)))
        with tempfile.TemporaryDirectory() as saved:
            # otherwise PEFT would save the whole embedding next to its update
            model.save_pretrained(saved, save_embedding_layers=False)
            (FOLDER / name).mkdir(parents=True)
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                shutil.copyfile(pathlib.Path(saved, file), FOLDER / name / file)
    facts: dict = {"seed": SEED, "threshold": THRESHOLD, "combinations": {}, "conversions": {}}
    for name, (letters, weights, options) in COMBINATIONS.items():
        model = combined(name)
        save_file(factors(model, "new"), FOLDER / f"{name}.safetensors")
        config = model.peft_config["new"]
        facts["combinations"][name] = {
            "adapters": list(letters),
            "weights": weights,
            **options,
            "made": {"r": config.r, "lora_alpha": config.lora_alpha, "target_modules": sorted(config.target_modules)},
        }
    for case in CONVERTED:
        load = lambda: PeftModel.from_pretrained(
            load_base(HERE / case.split("/")[0] / "base", torch.float32), HERE / case
        )
        made, tensors = convert_to_lora(load(), rank=RANKS.get(case, RANK))
        save_file(tensors, FOLDER / f"{case.replace('/', '-')}.safetensors")
        config, _ = convert_to_lora(load(), rank=THRESHOLD)
        ranks = {path.removeprefix("base_model.model."): rank for path, rank in config.rank_pattern.items()}
        facts["conversions"][case] = {
            # The rank of MiSS is always its own.
            "rank": next(iter(made.rank_pattern.values())) if case == "llama/miss" else RANKS.get(case, RANK),
            "ranks": None if case == "llama/miss" else ranks,
            "modules_to_save": config.modules_to_save,
        }
    (FOLDER / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")


FILES = {"adapter-operations": write}
