"""Writes a synthetic clip in GSM 06.10 and its decoding by libgsm, through SoX (Debian: sox):
libs/examples/src/formats/gsm.golden.json.

Run `python3 test/golden/gsm.py`. The clip has a rising tone, loud noise, silence and two tones: short and long lags,
and sums that are clipped.
"""

import base64
import hashlib
import json
import math
import pathlib
import random
import struct
import subprocess

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "libs/examples/src/formats/gsm.golden.json"
RAW = ["-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1", "-"]
GSM = ["-t", "gsm", "-r", "8000", "-c", "1", "-"]
SAMPLES = 4800


def sample(i: int, noise: random.Random) -> float:
    t = i / 8000
    if i < 1600:
        return 0.9 * math.sin(2 * math.pi * (100 + 4000 * t) * t)
    if i < 2800:
        return noise.uniform(-1, 1)
    if i < 3200:
        return 0
    return 0.5 * math.sin(2 * math.pi * 120 * t) + 0.3 * math.sin(2 * math.pi * 977 * t)


def sox(source: list[str], target: list[str], data: bytes) -> bytes:
    return subprocess.run(["sox", "-D", *source, *target], input=data, capture_output=True, check=True).stdout


if __name__ == "__main__":
    noise = random.Random(1)
    made = [round(32767 * sample(i, noise)) for i in range(SAMPLES)]
    gsm = sox(RAW, GSM, struct.pack(f"<{SAMPLES}h", *made))
    decoded = sox(GSM, RAW, gsm)
    golden = {"gsm": base64.b64encode(gsm).decode(), "sha256": hashlib.sha256(decoded).hexdigest()}
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
