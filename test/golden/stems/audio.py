"""Audio files, their decoding by Transformers' load_audio, and features of one of them.

The clips are synthetic: gliding tones with overtones and a little noise, and a second of silence in one of them.
"""

import json
import pathlib

import numpy as np
import soundfile
import soxr
import torch
from safetensors.torch import save_file
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import load_audio

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "audio"
# Stores every seventh sample. Complete clips would take megabytes, and a wrong formula shows in any sample.
EVERY = 7


def sound(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Samples [samples, channels]."""
    noise = np.random.default_rng(7)
    t = np.arange(int(seconds * rate)) / rate
    voice = lambda base: sum(np.sin(2 * np.pi * k * (base * t + 60 * t**2)) / k**1.5 for k in range(1, 9))
    swell = np.abs(np.sin(2 * np.pi * 3 * t)) * (t < 0.8)
    parts = [0.25 * swell * voice(140 + 80 * c) + 0.002 * noise.standard_normal(len(t)) for c in range(channels)]
    return np.stack(parts, axis=1).astype(np.float32)


FILES_MADE = {
    "stereo-16.wav": (0.06, 44100, 2, "PCM_16"),
    "mono-8.wav": (0.1, 8000, 1, "PCM_U8"),
    "mono-24.wav": (0.05, 22050, 1, "PCM_24"),
    "mono-32.wav": (0.03, 16000, 1, "PCM_32"),
    "mono-float.wav": (0.04, 11025, 1, "FLOAT"),
    "mono-mulaw.wav": (0.05, 8000, 1, "ULAW"),
    "mono-alaw.wav": (0.05, 8000, 1, "ALAW"),
    "stereo-16.flac": (0.15, 44100, 2, "PCM_16"),
    "mono-24.flac": (0.1, 48000, 1, "PCM_24"),
    "mono-16.flac": (1.2, 16000, 1, "PCM_16"),
    "stereo-8.flac": (0.06, 16000, 2, "PCM_S8"),
}
EXTRACTORS = {
    "whisper": WhisperFeatureExtractor(chunk_length=2),
    "whisper-128": WhisperFeatureExtractor(feature_size=128),
    "wav2vec2": Wav2Vec2FeatureExtractor(return_attention_mask=True),
    "ast": ASTFeatureExtractor(max_length=160),
    "ast-cut": ASTFeatureExtractor(max_length=48, num_mel_bins=64, do_normalize=False),
}


def thinned(values: np.ndarray) -> torch.Tensor:
    """Every EVERY-th sample, or every EVERY-th of the first 300 frames."""
    frames = values if values.ndim == 1 else values[:300]
    return torch.from_numpy(np.ascontiguousarray(frames[::EVERY], dtype=np.float32))


def resampled(rate: int, to: int) -> tuple[torch.Tensor, torch.Tensor]:
    """White noise, which contains all frequencies equally, and its resampling."""
    noise = np.random.default_rng(rate).standard_normal(1000).astype(np.float32) * 0.1
    return torch.from_numpy(noise), torch.from_numpy(soxr.resample(noise, rate, to, quality="soxr_hq"))


def write(tensors: dict[str, torch.Tensor], name: str, samples: np.ndarray, rate: int, subtype: str) -> None:
    soundfile.write(FOLDER / name, samples, rate, subtype=subtype)
    tensors[f"decoded.{name}"] = thinned(load_audio(str(FOLDER / name), rate, backend="soundfile"))
    tensors[f"at16k.{name}"] = thinned(load_audio(str(FOLDER / name), 16000, backend="soundfile"))


def write_audio() -> None:
    FOLDER.mkdir(exist_ok=True)
    tensors = {}
    for name, (seconds, rate, channels, subtype) in FILES_MADE.items():
        write(tensors, name, sound(seconds, rate, channels), rate, subtype)
    # no predictor helps, so FLAC stores verbatim samples
    write(tensors, "loud-24.flac", np.random.default_rng(3).uniform(-1, 1, (400, 2)), 16000, "PCM_24")
    heard = load_audio(str(FOLDER / "mono-16.flac"), 16000, backend="soundfile")
    for rate, to in ((8000, 16000), (48000, 16000), (44100, 16000), (22050, 16000), (16000, 8000)):
        tensors[f"noise.{rate}"], tensors[f"resampled.{rate}.{to}"] = resampled(rate, to)
    shapes = {}
    for name, extractor in EXTRACTORS.items():
        out = extractor(heard, sampling_rate=16000, return_tensors="np")
        values = out[extractor.model_input_names[0]][0]
        shapes[name] = list(values.shape)
        # Whisper's features have the mel bins first
        tensors[f"features.{name}"] = thinned(values.T if name.startswith("whisper") else values)
    save_file(tensors, FOLDER / "golden.safetensors")
    configs = {name: json.loads(extractor.to_json_string()) for name, extractor in EXTRACTORS.items()}
    for config in configs.values():
        config.pop("mel_filters", None)
    golden = {"every": EVERY, "shapes": shapes, "configs": configs}
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


FILES = {"audio": write_audio}
