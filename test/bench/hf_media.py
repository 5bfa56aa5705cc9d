"""Baseline of media.mjs: Transformers and PEFT as commonly used on a CPU, on the records that Graft trains on.

    python3 test/bench/hf_media.py --task image_cls --base DIR --data records.jsonl --method lora-qv --steps 12
    python3 test/bench/hf_media.py --task image_cls --base DIR --method lora-qv --write-init DIR
    python3 test/bench/hf_media.py --write-vit DIR

--data: {image, label} with PNG, or {audio, text} with WAV of 16 bits and 16 kHz, as data URLs. Transformers' processors
read them before the first step; no variant's time includes that. Each variant runs in a separate process and prints one
JSON line: {variant, media_per_second, peak_rss_mb, losses, ...}. media_per_second is the number of images or audio
clips divided by the time after two steps of warm-up; with --cpu by the process's CPU time. --write-vit writes a base
with ViT-S/16's shape at 224 pixels and random weights. Training speed does not depend on the weights.

B0           f32, batches in file order
B2           base in bf16 with f32 adapters (PEFT's default)
…+tcmalloc   the same under LD_PRELOAD of tcmalloc, Hugging Face's advice for CPUs
"""

import argparse
import base64
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import wave

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "golden"))

from environment import enter

enter()

from tcmalloc import tcmalloc

# PEFT would load bitsandbytes because it is in the goldens' environment: 40 MB that this baseline does not need.
sys.modules["bitsandbytes"] = None

VARIANTS = ["B0", "B0+tcmalloc", "B2", "B2+tcmalloc"]
METHODS = ["lora-qv", "lora-all-linear"]
WARM_UP = 2


def peft_config(options: argparse.Namespace):
    from peft import LoraConfig

    head = {"modules_to_save": ["classifier"]} if options.task == "image_cls" else {}
    return {
        "lora-qv": lambda: LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], **head),
        "lora-all-linear": lambda: LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", **head),
    }[options.method]()


def load(options: argparse.Namespace):
    import torch
    from peft import get_peft_model, set_peft_model_state_dict
    from families import load_base
    from safetensors.torch import load_file
    from transformers import AutoModelForImageClassification, AutoModelForSpeechSeq2Seq

    torch.manual_seed(0)
    dtype = torch.float32 if (options.child or "B0").startswith("B0") else torch.bfloat16
    if options.task == "image_cls":
        base = load_base(options.base, dtype, AutoModelForImageClassification, num_labels=options.labels)
    else:
        base = load_base(options.base, dtype, AutoModelForSpeechSeq2Seq)
        base.config.use_cache = False
    model = get_peft_model(base, peft_config(options))
    if options.init is not None:
        set_peft_model_state_dict(model, load_file(options.init / "adapter_model.safetensors"))
    return model.train()


def media_bytes(url: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(url.split(",", 1)[1]))


def pictures(records: list[dict], options: argparse.Namespace) -> list[dict]:
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(options.base)
    names = sorted({record["label"] for record in records})
    return [
        {
            "pixel_values": processor(Image.open(media_bytes(record["image"])), return_tensors="pt")["pixel_values"][0],
            "labels": torch.tensor(names.index(record["label"])),
        }
        for record in records
    ]


def sounds(records: list[dict], options: argparse.Namespace) -> list[dict]:
    import torch
    from transformers import AutoTokenizer, WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(options.base)
    tokenizer = AutoTokenizer.from_pretrained(options.base)

    def heard(url: str) -> torch.Tensor:
        with wave.open(media_bytes(url)) as file:
            samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16).float() / 32768
        return extractor(samples.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"][0]

    # Transformers adds the start token
    text = lambda record: torch.tensor(tokenizer(record["text"])["input_ids"][1:])
    return [{"input_features": heard(record["audio"]), "labels": text(record)} for record in records]


def collated(batch: list[dict], dtype) -> dict:
    import torch

    labels = [record["labels"] for record in batch]
    wide = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100) if labels[0].dim() else torch.stack(labels)
    of = next(name for name in batch[0] if name != "labels")
    return {of: torch.stack([record[of] for record in batch]).to(dtype), "labels": wide}


def peak_rss_mb() -> float:
    line = next(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run_variant(options: argparse.Namespace) -> dict:
    import measure
    import torch

    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    # The loader only warns if it cannot preload a library.
    if options.child.endswith("tcmalloc") and "tcmalloc" not in pathlib.Path("/proc/self/maps").read_text():
        sys.exit("tcmalloc was not loaded")
    records = [json.loads(line) for line in options.data.read_text().splitlines()]
    options.labels = len({record.get("label") for record in records})
    read = (pictures if options.task == "image_cls" else sounds)(records, options)
    batches = [read[i : i + options.batch] for i in range(0, len(read), options.batch)]
    model = load(options)
    dtype = torch.float32 if options.child.startswith("B0") else torch.bfloat16
    parameters = list(measure.trainables(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.01)
    clock = time.process_time if options.cpu else time.perf_counter
    losses, seconds = [], []
    for step in range(options.steps):
        started = clock()
        loss = model(**collated(batches[step % len(batches)], dtype)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(clock() - started)
    return {
        "variant": options.child,
        "media_per_second": options.batch * len(seconds[WARM_UP:]) / sum(seconds[WARM_UP:]),
        "peak_rss_mb": peak_rss_mb(),
        "torch": torch.__version__,
        "losses": losses,
    }


def write_vit(folder: pathlib.Path) -> None:
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    shape = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
    ViTModel(ViTConfig(**shape, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)


def start_variant(variant: str) -> None:
    environment = {**os.environ}
    if variant.endswith("tcmalloc"):
        environment["LD_PRELOAD"] = str(tcmalloc())
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--child", variant]
    print(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout, end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=["image_cls", "speech_seq_2_seq"], default="image_cls")
    parser.add_argument("--base", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--method", choices=METHODS, default="lora-qv")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--cpu", action="store_true", help="by processor time, on a machine that others use")
    parser.add_argument("--init", type=pathlib.Path, help="adapter folder to start from")
    parser.add_argument("--write-init", type=pathlib.Path, help="write PEFT's initial adapter there and stop")
    parser.add_argument("--write-vit", type=pathlib.Path, help="write a random ViT there and stop")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.variants.split(",")) - set(VARIANTS):
        parser.error(f"unknown variants {sorted(unknown)}; there are {VARIANTS}")
    if options.write_vit is not None:
        write_vit(options.write_vit)
    elif options.write_init is not None:
        load(options).save_pretrained(options.write_init)
    elif options.child is not None:
        print(json.dumps(run_variant(options)))
    else:
        for variant in options.variants.split(","):
            start_variant(variant)


main()
