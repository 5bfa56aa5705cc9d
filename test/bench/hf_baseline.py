"""Baseline: Transformers and PEFT as commonly used on a CPU, on the sequences that Graft trains on.

    python3 test/bench/hf_baseline.py --base DIR --data sequences.jsonl --method lora-qv --steps 24
    python3 test/bench/hf_baseline.py --base DIR --method lora-qv --write-init DIR
    python3 test/bench/hf_baseline.py --base DIR --write-t5 DIR

--base: a Hugging Face folder (bf16 safetensors; B0 loads it as f32). --task: a task of test/golden/stems/, whose loss
is used. --data: one record of that task per line. For causal_lm {tokens, labels}, with labels unshifted and -100 where
unsupervised; for seq_2_seq_lm {source, target}; for dpo {prompt, chosen, rejected}; for seq_cls {tokens, types, label}.
All are token ids except the label, which is a number. --options: the task's options as JSON.

Each variant runs in a separate process and prints one JSON line: {variant, method, real_tokens_per_second,
overall_tokens_per_second, peak_rss_mb, losses, ...}. The first rate is the median over the steps after two of warm-up,
the second is all their tokens divided by all their time. Real tokens are input tokens without padding; virtual tokens
and the second pass over a pair for DPO's reference do not count. peak_rss_mb is VmHWM and includes loading. --write-t5
writes a base with t5-small's shape, random weights and the tokenizer of --base, because no package has a real one.
Training speed does not depend on the weights.

B0           f32, padded, batches in file order
B1           B0 with the set sorted by length, under tcmalloc: for small models, f32 may be Hugging Face's best
B2           base in bf16 with f32 adapters (PEFT's default), padded, file order
B3           B2 with the set sorted by length, as group_by_length does; the batches run in a fixed random order, so
             that a run shorter than the set is still a fair sample of it
B3+tcmalloc  B3 under LD_PRELOAD of tcmalloc, Hugging Face's advice for CPUs
B4           B2 with each batch packed in one row: position ids and a block-causal mask; LoRA with causal_lm only,
             since neither PEFT's prompt methods nor T5 support it
B5           B3 with gradient checkpointing, Hugging Face's option with the least memory
+tcmalloc    any of them under tcmalloc

--cpu: seconds are CPU time of one thread, for a busy machine.

The loop is minimal: forward pass with labels, backward pass, clip, AdamW. Trainer would add overhead.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "golden"))

from environment import enter

enter()

from tcmalloc import tcmalloc

# PEFT would load bitsandbytes because it is in the goldens' environment: 40 MB that this baseline does not need.
sys.modules["bitsandbytes"] = None

VARIANTS = ["B0", "B1+tcmalloc", "B2", "B3", "B3+tcmalloc", "B4", "B5"]
METHODS = ["lora-qv", "lora-all-linear", "prompt", "prefix"]
WARM_UP = 2


# Dropout of the base in training, which is disabled because losses are compared.
UNDROPPED = {"seq_cls": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}


def task_of(options: argparse.Namespace):
    import stem

    task = stem.load(options.task).TASKS[options.task]
    # the goldens run each text alone; the baseline runs padded batches
    padded = {"loss": labelled_loss, "slots": lambda batch: len(batch) * max(map(task.tokens, batch))}
    return dataclasses.replace(task, **padded) if options.task == "seq_cls" else task


def labelled_loss(model, batch: list[dict], options: dict):
    import measure
    import torch

    rows = measure.padded([{"tokens": text["tokens"], "labels": text["types"]} for text in batch])
    types = rows.pop("labels").clamp(min=0)
    return model(**rows, token_type_ids=types, labels=torch.tensor([text["label"] for text in batch])).loss


def peft_config(options: argparse.Namespace):
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    task = {"task_type": task_of(options).peft_type}
    return {
        # PEFT's default: q and v of every attention.
        "lora-qv": lambda: LoraConfig(**task, r=8, lora_alpha=16),
        "lora-all-linear": lambda: LoraConfig(**task, r=16, lora_alpha=32, target_modules="all-linear"),
        "prompt": lambda: PromptTuningConfig(**task, num_virtual_tokens=200),
        "prefix": lambda: PrefixTuningConfig(**task, num_virtual_tokens=20),
    }[options.method]()


def load(options: argparse.Namespace):
    import torch
    from peft import get_peft_model, set_peft_model_state_dict
    from families import load_base
    from safetensors.torch import load_file

    torch.manual_seed(options.seed)
    task = task_of(options)
    dtype = torch.float32 if (options.child or "").startswith(("B0", "B1")) else torch.bfloat16
    base = load_base(options.base, dtype, task.auto, **task.fields(options.options), **UNDROPPED.get(options.task, {}))
    # Training needs no cache; prefix tuning provides its own, which must be enabled. A decoder has its own config.
    for module in base.modules():
        if hasattr(module, "config"):
            module.config.use_cache = options.method == "prefix"
    if (options.child or "").startswith("B5"):
        base.gradient_checkpointing_enable({"use_reentrant": False})
    model = get_peft_model(base, peft_config(options))
    if options.init is not None:
        set_peft_model_state_dict(model, load_file(options.init / "adapter_model.safetensors"))
    return model.train()


def batches_of(sequences: list[dict], options: argparse.Namespace) -> list[list[dict]]:
    sort = options.child.startswith(("B1", "B3", "B5"))
    ordered = sorted(sequences, key=lambda s: -task_of(options).tokens(s)) if sort else sequences
    batches = [ordered[i : i + options.batch] for i in range(0, len(ordered), options.batch)]
    if sort:
        random.Random(options.seed).shuffle(batches)
    return batches


def packed(batch: list[dict]) -> dict:
    """Packs all sequences into one row: token t attends to u of its own sequence with u <= t."""
    import torch

    lengths = [len(sequence["tokens"]) for sequence in batch]
    owner = torch.repeat_interleave(torch.arange(len(batch)), torch.tensor(lengths))
    mask = (owner[:, None] == owner[None]).tril()
    # The first label would be predicted from the previous sequence.
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
    # The loader only warns if it cannot preload a library.
    if options.child.endswith("tcmalloc") and "tcmalloc" not in pathlib.Path("/proc/self/maps").read_text():
        sys.exit("tcmalloc was not loaded")
    task = task_of(options)
    sequences = [json.loads(line) for line in options.data.read_text().splitlines() if line.strip()]
    batches = batches_of(sequences, options)
    model = load(options)
    parameters = list(measure.trainables(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    packed_loss = lambda model, batch, _: model(**packed(batch)).loss
    loss_of = packed_loss if options.child.startswith("B4") else task.loss

    clock = time.process_time if options.cpu else time.perf_counter
    losses, seconds, tokens = [], [], []
    for step in range(options.steps):
        batch = batches[step % len(batches)]
        started = clock()
        loss = loss_of(model, batch, options.options)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(clock() - started)
        tokens.append(sum(map(task.tokens, batch)))
    rates = [t / s for t, s in zip(tokens[WARM_UP:], seconds[WARM_UP:])]
    slots = sum(map(task.slots, batches))
    return {
        "variant": options.child,
        "task": options.task,
        "method": options.method,
        "real_tokens_per_second": round(statistics.median(rates), 2),
        "overall_tokens_per_second": round(sum(tokens[WARM_UP:]) / sum(seconds[WARM_UP:]), 2),
        "range": [round(min(rates), 2), round(max(rates), 2)],
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "density": 1.0 if options.child.startswith("B4") else round(sum(map(task.tokens, sequences)) / slots, 4),
        "steps": options.steps,
        "threads": options.threads,
        "torch": torch.__version__,
        "load_average_before": load_average,
        "losses": losses,
    }


def write_t5(options: argparse.Namespace) -> None:
    """Writes a base with t5-small's shape and the vocabulary of the tokenizer, in bf16 like the other bases."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, T5Config

    torch.manual_seed(options.seed)
    given = AutoConfig.from_pretrained(options.base)
    config = T5Config(vocab_size=given.vocab_size, dropout_rate=0.0, eos_token_id=given.eos_token_id, decoder_start_token_id=0)
    AutoModelForSeq2SeqLM.from_config(config, dtype=torch.bfloat16).save_pretrained(options.write_t5)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (options.base / file).exists():
            shutil.copyfile(options.base / file, options.write_t5 / file)


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
    parser.add_argument("--task", default="causal_lm")
    parser.add_argument("--options", type=json.loads, default={}, help="the task's, as JSON")
    parser.add_argument("--method", choices=METHODS, default="lora-qv")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="seconds of processor time; with --threads 1")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=pathlib.Path, help="adapter folder to start from")
    parser.add_argument("--write-init", type=pathlib.Path, help="write PEFT's initial adapter there and stop")
    parser.add_argument("--write-t5", type=pathlib.Path, help="write a random T5 there and stop")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cpu and options.threads != 1:
        parser.error("--cpu is of one thread: --threads 1")
    bare = lambda variants: {variant.removesuffix("+tcmalloc") for variant in variants}
    unknown = bare(options.variants.split(",")) - bare(VARIANTS)
    if unknown:
        parser.error(f"unknown variants {sorted(unknown)}; there are {VARIANTS}")
    if options.write_init is None and options.write_t5 is None and options.data is None:
        parser.error("--data is needed")
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}, the warm-up")
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    if options.write_t5 is not None:
        write_t5(options)
    elif options.write_init is not None:
        load(options).save_pretrained(options.write_init)
    elif options.child is not None:
        print(json.dumps(run_variant(options)))
    else:
        for variant in options.variants.split(","):
            if variant.startswith("B4") and (options.task != "causal_lm" or not options.method.startswith("lora")):
                print(json.dumps({"variant": variant, "task": options.task, "method": options.method, "skipped": "cannot pack"}))
            else:
                start_variant(variant, sys.argv[1:])


main()
