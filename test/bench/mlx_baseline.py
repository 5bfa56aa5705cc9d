"""Apple's MLX on a CPU, compared with Graft: LoRA as mlx-lm trains it, on the sequences that Graft trains on.

    python3 test/bench/mlx_baseline.py --base DIR --data sequences.jsonl --method lora-qv --init DIR --steps 24

The script creates an environment with pinned packages, `.venv-mlx`. mlx-cpu contains the reference BLAS, whose matrix
products reach 5 GF/s on a core that reaches 90 with OpenBLAS. So Debian's OpenBLAS is preloaded (`LD_PRELOAD`;
downloaded by apt-get and unpacked in .cache/openblas). MLX's own bf16 products are slow (5 GF/s), so the base is in
f32. Options are those of hf_baseline.py. So are the order of batches (its B3: sorted by length, in a fixed random
order), the optimizer, clipping and the printed JSON line. The model, the LoRA layers and the compiled step are mlx-lm's
(`tuner/trainer.py`), except that the loss is masked by our labels.
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
FOLDER = ROOT / ".venv-mlx"
PINS = ["mlx[cpu]==0.32.4", "mlx-lm==0.32.2"]
WARM_UP = 2
METHODS = {"lora-qv": (8, 2.0, ["self_attn.q_proj", "self_attn.v_proj"]), "lora-all-linear": (16, 2.0, None)}


def openblas() -> str:
    """Path of Debian's OpenBLAS, unpacked in .cache, and the folders of the Fortran runtime for its loader."""
    cache = ROOT / ".cache" / "openblas"
    if not list(cache.rglob("libopenblas.so.0")):
        cache.mkdir(parents=True, exist_ok=True)
        packages = ["libopenblas0-pthread", "libgfortran5"]
        subprocess.run(["apt-get", "download", *packages], cwd=cache, check=True, stdout=subprocess.DEVNULL)
        for archive in cache.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(cache)], check=True)
    fortran = next(cache.rglob("libgfortran.so.5"))
    return f"{fortran} {next(cache.rglob('libopenblas.so.0'))}"


def enter(threads: int) -> None:
    """Returns if the script runs in the environment with OpenBLAS. Otherwise restarts it there."""
    interpreter = FOLDER / "bin" / "python"
    marker = FOLDER / "pins"
    if pathlib.Path(sys.prefix).resolve() == FOLDER.resolve() and "openblas" in os.environ.get("LD_PRELOAD", ""):
        return
    if not marker.exists() or marker.read_text() != "\n".join(PINS):
        print(f"making {FOLDER} ({', '.join(PINS)})", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINS], check=True)
        marker.write_text("\n".join(PINS))
    fixed = {"LD_PRELOAD": openblas(), "OPENBLAS_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    os.execve(str(interpreter), [str(interpreter), "-W", "ignore", *sys.argv], {**os.environ, **fixed})


def load(options: argparse.Namespace):
    import mlx.core as mx
    from mlx.utils import tree_map, tree_unflatten
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    config = json.loads((options.base / "config.json").read_text())
    # transformers 5 writes it to rope_parameters, which mlx-lm does not read
    rope = config.get("rope_parameters") or {}
    model, _ = load_model(options.base, model_config={"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {})
    model.update(tree_map(lambda p: p.astype(mx.float32), model.parameters()))
    model.freeze()
    rank, scale, keys = METHODS[options.method]
    linear_to_lora_layers(model, len(model.layers), {"rank": rank, "scale": scale, "dropout": 0.0, "keys": keys})
    given = mx.load(str(options.init / "adapter_model.safetensors"))
    names = {"lora_A": "lora_a", "lora_B": "lora_b"}
    own = []
    for name, tensor in given.items():
        *path, part, _ = name.removeprefix("base_model.model.").split(".")
        own.append((".".join([*path, names[part]]), tensor.astype(mx.float32).T))
    model.update(tree_unflatten(own))
    model.train()
    return model


def batches_of(sequences: list[dict], options: argparse.Namespace) -> list[list[dict]]:
    ordered = sorted(sequences, key=lambda sequence: -len(sequence["tokens"]))
    batches = [ordered[i : i + options.batch] for i in range(0, len(ordered), options.batch)]
    random.Random(options.seed).shuffle(batches)
    return batches


def padded(batch: list[dict]):
    import mlx.core as mx

    longest = max(len(sequence["tokens"]) for sequence in batch)
    fill = lambda values, by: values + [by] * (longest - len(values))
    tokens = mx.array([fill(sequence["tokens"], 0) for sequence in batch])
    labels = mx.array([fill(sequence["labels"], -100) for sequence in batch])
    return tokens[:, :-1], labels[:, 1:]


def loss_of(model, tokens, labels):
    import mlx.core as mx
    import mlx.nn as nn

    mask = labels >= 0
    losses = nn.losses.cross_entropy(model(tokens).astype(mx.float32), mx.where(mask, labels, 0)) * mask
    return losses.sum() / mask.sum()


def run(options: argparse.Namespace) -> dict:
    from functools import partial

    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers

    mx.set_default_device(mx.cpu)
    if options.cpu and options.threads != 1:
        sys.exit("--cpu is of one thread")
    load_average = os.getloadavg()[0]
    sequences = [json.loads(line) for line in options.data.read_text().splitlines() if line.strip()]
    batches = batches_of(sequences, options)
    model = load(options)
    optimizer = optimizers.AdamW(options.learning_rate, weight_decay=options.weight_decay, bias_correction=True)
    value_and_grad = nn.value_and_grad(model, loss_of)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(tokens, labels):
        loss, gradients = value_and_grad(model, tokens, labels)
        gradients, _ = optimizers.clip_grad_norm(gradients, options.max_grad_norm)
        optimizer.update(model, gradients)
        return loss

    clock = time.process_time if options.cpu else time.perf_counter
    losses, seconds, tokens = [], [], []
    for i in range(options.steps):
        batch = batches[i % len(batches)]
        started = clock()
        loss = step(*padded(batch))
        mx.eval(state, loss)
        losses.append(loss.item())
        seconds.append(clock() - started)
        tokens.append(sum(len(sequence["tokens"]) for sequence in batch))
    line = next(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    return {
        "variant": "mlx",
        "method": options.method,
        "real_tokens_per_second": round(statistics.median(t / s for t, s in zip(tokens[WARM_UP:], seconds[WARM_UP:])), 2),
        "overall_tokens_per_second": round(sum(tokens[WARM_UP:]) / sum(seconds[WARM_UP:]), 2),
        "peak_rss_mb": round(int(line.split()[1]) / 1024, 1),
        "mlx": mx.__version__,
        "load_average_before": load_average,
        "losses": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--init", type=pathlib.Path, required=True, help="PEFT's adapter folder to start from")
    parser.add_argument("--method", choices=list(METHODS), default="lora-qv")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="seconds of processor time")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}, the warm-up")
    enter(options.threads)
    print(json.dumps(run(options)))


main()
