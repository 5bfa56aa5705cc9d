"""Goldens of Whisper's timestamps: the tokens that Transformers' WhisperTimeStampLogitsProcessor allows, and the
segments of a window in its sequential long-form decoding.

`python3 test/golden/whisper_times.py` writes whisper-times.json.
"""

import json
import pathlib

from environment import enter

enter()

import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
from transformers.models.whisper.generation_whisper import WhisperGenerationMixin

HERE = pathlib.Path(__file__).resolve().parent
# ids of text are below the end of text; then the token for no timestamps, then timestamps
END, NONE, FIRST, COUNT = 9, 10, 11, 111
T = FIRST
BEFORE = [
    [],
    [T],
    [T + 3],
    [T + 3, 1],
    [T, 1, 2],
    [T, 1, 2, T + 20],
    [T, 1, 2, T + 20, T + 20],
    [T, 1, T + 20, T + 25, 4],
    [T, 1, T + 20, T + 25, 4, 5, T + 40],
    [T + 98, 1, T + 99],
]
WRITTEN = [
    [T, 1, 2, T + 50],
    [T, 1, 2, T + 50, T + 60, 3, 4, T + 90],
    [T, 1, 2, T + 50, T + 60, 3, 4],
    [T, 1, 2, T + 50, T + 60, 3, 4, T + 80, T + 80],
    [T, 1, 2, T + 50, T + 50],
    [T + 5, 1, 2],
    [T, 1, 2],
    [1, 2, 3],
]


def left(ids: list[int], seed: int, bias: float) -> dict:
    """Allowed tokens. `bias` makes timestamps more or less likely than text."""
    config = GenerationConfig(eos_token_id=END, no_timestamps_token_id=NONE, max_initial_timestamp_index=50)
    process = WhisperTimeStampLogitsProcessor(config, begin_index=1)
    scores = torch.randn(1, FIRST + COUNT, generator=torch.Generator().manual_seed(seed))
    scores[:, FIRST:] += bias
    found = process(torch.tensor([[0, *ids]]), scores.clone())
    return {
        "ids": ids,
        "scores": [round(value, 6) for value in scores[0].tolist()],
        "left": [i for i, value in enumerate(found[0].tolist()) if value != float("-inf")],
    }


def parts(ids: list[int]) -> dict:
    """Segments of a window of 3 s."""
    segments, offset = WhisperGenerationMixin._retrieve_segment(
        seek_sequence=torch.tensor(ids),
        seek_outputs=[torch.tensor(ids)],
        time_offset=torch.tensor([0.0], dtype=torch.float64),
        timestamp_begin=FIRST,
        seek_num_frames=torch.tensor([300]),
        time_precision=0.02,
        time_precision_features=0.01,
        input_stride=2,
        prev_idx=0,
        idx=0,
        return_token_timestamps=False,
        decoder_input_ids=torch.tensor([[0]]),
    )
    return {
        "ids": ids,
        "parts": [
            {"start": round(float(one["start"]), 2), "end": round(float(one["end"]), 2), "ids": one["tokens"].tolist()}
            for one in segments
        ],
        "until": int(offset) / 100,
    }


if __name__ == "__main__":
    golden = {
        "end": END,
        "none": NONE,
        "first": FIRST,
        "left": [left(ids, seed, bias) for seed, ids in enumerate(BEFORE) for bias in (-3.0, 0.0, 3.0)],
        "parts": [parts(ids) for ids in WRITTEN],
    }
    (HERE / "whisper-times.json").write_text(json.dumps(golden) + "\n")
