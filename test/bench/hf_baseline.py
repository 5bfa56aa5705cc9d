"""The baseline: transformers + peft as people run them on a CPU, on the sequences that Graft trains on.

    python3 test/bench/hf_baseline.py --base DIR --data sequences.jsonl --method lora-qv --steps 24
    python3 test/bench/hf_baseline.py --base DIR --method lora-qv --write-init DIR

--base: a Hugging Face folder (bf16 safetensors; B0 reads it as f32). --data: {tokens, labels} a line, labels
unshifted with -100 where unsupervised. Each variant runs in a process of its own and prints one JSON line:
{variant, method, real_tokens_per_second, overall_tokens_per_second, peak_rss_mb, losses, ...}. The first is the
median over steps after two of warm-up, the second all their tokens over all their time; real tokens are input
tokens that are not padding (virtual ones do not count). peak_rss_mb is VmHWM, loading included.

B0           f32, padded, batches in file order
B2           base in bf16 with f32 adapters (PEFT's default), padded, file order
B3           B2 with the set sorted by length, as group_by_length does; the batches then run in a fixed random
             order, so that a run shorter than the set is still a fair sample of it
B3+tcmalloc  B3 under LD_PRELOAD of tcmalloc, Hugging Face's advice for CPUs
B4           B2 with each batch packed in one row: position ids and a block-causal mask; LoRA only, since PEFT's
             prompt methods take neither

The loop is the plain one: forward with labels, backward, clip, AdamW. Trainer would add to it.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "golden"))

from environment import enter

enter()

VARIANTS = ["B0", "B2", "B3", "B3+tcmalloc", "B4"]
METHODS = ["lora-qv", "lora-all-linear", "prompt", "prefix"]
WARM_UP = 2


def tcmalloc() -> pathlib.Path:
    """The library of the system, or of its package unpacked under .cache."""
    name = "libtcmalloc_minimal.so.4"
    cache = ROOT / ".cache" / "tcmalloc"
    for folder in (pathlib.Path("/usr/lib"), cache):
        for found in sorted(folder.rglob(name)) if folder.exists() else []:
            return found
    cache.mkdir(parents=True, exist_ok=True)
    for package in ("libtcmalloc-minimal4t64", "libtcmalloc-minimal4"):
        if subprocess.run(["apt-get", "download", package], cwd=cache, capture_output=True).returncode == 0:
            archive = next(cache.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg", "-x", str(archive), str(cache)], check=True)
            return next(cache.rglob(name))
    raise FileNotFoundError(f"{name}: install libtcmalloc-minimal4, apt-get could not download it")


def peft_config(method: str):
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    task = {"task_type": "CAUSAL_LM"}
    return {
        "lora-qv": lambda: LoraConfig(**task, r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
        "lora-all-linear": lambda: LoraConfig(**task, r=16, lora_alpha=32, target_modules="all-linear"),
        "prompt": lambda: PromptTuningConfig(**task, num_virtual_tokens=200),
        "prefix": lambda: PrefixTuningConfig(**task, num_virtual_tokens=20),
    }[method]()


def load(options: argparse.Namespace):
    import torch
    from peft import get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    torch.manual_seed(options.seed)
    dtype = torch.float32 if options.child == "B0" else torch.bfloat16
    base = AutoModelForCausalLM.from_pretrained(options.base, dtype=dtype)
    base.name_or_path = base.config._name_or_path = ""
    model = get_peft_model(base, peft_config(options.method))
    if options.init is not None:
        set_peft_model_state_dict(model, load_file(options.init / "adapter_model.safetensors"))
    return model.train()


def batches_of(sequences: list[dict], options: argparse.Namespace) -> list[list[dict]]:
    sort = options.child.startswith("B3")
    ordered = sorted(sequences, key=lambda s: -len(s["tokens"])) if sort else sequences
    batches = [ordered[i : i + options.batch] for i in range(0, len(ordered), options.batch)]
    if sort:
        random.Random(options.seed).shuffle(batches)
    return batches


def packed(batch: list[dict]) -> dict:
    """One row of all sequences: token t sees u of its own sequence with u <= t."""
    import torch

    lengths = [len(sequence["tokens"]) for sequence in batch]
    owner = torch.repeat_interleave(torch.arange(len(batch)), torch.tensor(lengths))
    mask = (owner[:, None] == owner[None]).tril()
    # The first label would be predicted from the sequence before it.
    labels = [label for sequence in batch for label in [-100, *sequence["labels"][1:]]]
    return {
        "input_ids": torch.tensor([[token for sequence in batch for token in sequence["tokens"]]]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "attention_mask": mask[None, None],
        "labels": torch.tensor([labels]),
    }


def peak_rss_mb() -> float:
    line = next(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run_variant(options: argparse.Namespace) -> dict:
    import measure
    import torch

    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    load_average = os.getloadavg()[0]
    # The loader only warns of a library that it cannot preload.
    if options.child.endswith("tcmalloc") and "tcmalloc" not in pathlib.Path("/proc/self/maps").read_text():
        sys.exit("tcmalloc was not loaded")
    sequences = [json.loads(line) for line in options.data.read_text().splitlines() if line.strip()]
    batches = batches_of(sequences, options)
    model = load(options)
    parameters = list(measure.trainables(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    collate = packed if options.child == "B4" else measure.padded
    # No cache is wanted in training; prefix tuning brings its own and needs it on.
    extra = {} if options.method == "prefix" else {"use_cache": False}

    losses, seconds, tokens = [], [], []
    for step in range(options.steps):
        batch = batches[step % len(batches)]
        started = time.perf_counter()
        loss = model(**collate(batch), **extra).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
        tokens.append(sum(len(sequence["tokens"]) for sequence in batch))
    rates = [t / s for t, s in zip(tokens[WARM_UP:], seconds[WARM_UP:])]
    slots = sum(len(batch) * max(len(s["tokens"]) for s in batch) for batch in batches)
    return {
        "variant": options.child,
        "method": options.method,
        "real_tokens_per_second": round(statistics.median(rates), 2),
        "overall_tokens_per_second": round(sum(tokens[WARM_UP:]) / sum(seconds[WARM_UP:]), 2),
        "range": [round(min(rates), 2), round(max(rates), 2)],
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "density": 1.0 if options.child == "B4" else round(sum(len(s["tokens"]) for s in sequences) / slots, 4),
        "steps": options.steps,
        "threads": options.threads,
        "torch": torch.__version__,
        "load_average_before": load_average,
        "losses": losses,
    }


def start_variant(variant: str, arguments: list[str]) -> None:
    environment = {**os.environ}
    if variant.endswith("tcmalloc"):
        environment["LD_PRELOAD"] = str(tcmalloc())
    command = [sys.executable, "-W", "ignore", __file__, "--child", variant, *arguments]
    print(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout, end="", flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--method", choices=METHODS, default="lora-qv")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=pathlib.Path, help="adapter folder to start from")
    parser.add_argument("--write-init", type=pathlib.Path, help="write PEFT's initial adapter there and stop")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = set(options.variants.split(",")) - set(VARIANTS)
    if unknown:
        parser.error(f"unknown variants {sorted(unknown)}; there are {VARIANTS}")
    if options.write_init is None and options.data is None:
        parser.error("--data is needed")
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}, the warm-up")
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    if options.write_init is not None:
        load(options).save_pretrained(options.write_init)
    elif options.child is not None:
        print(json.dumps(run_variant(options)))
    else:
        for variant in options.variants.split(","):
            if variant == "B4" and not options.method.startswith("lora"):
                print(json.dumps({"variant": variant, "method": options.method, "skipped": "PEFT's prompt methods cannot pack"}))
            else:
                start_variant(variant, sys.argv[1:])


main()
