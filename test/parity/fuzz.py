"""Environment for fuzzing with the OpenAPI document, created once in `.venv-fuzz`: python3 test/parity/fuzz.py"""

import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("GRAFT_FUZZ_VENV", ROOT / ".venv-fuzz"))

PINS = ["schemathesis==4.32.5", "hypothesis==6.170.17", "jsonschema_rs==0.60.3", "requests==2.34.2"]


def make() -> None:
    """Creates the environment, about 100 MB from an ordinary package index."""
    stamp = hashlib.sha256("\n".join(PINS).encode()).hexdigest()
    marker = FOLDER / "pins.sha256"
    if marker.exists() and marker.read_text() == stamp:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    pip = [str(FOLDER / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PINS], check=True)
    marker.write_text(stamp)


make()
print(FOLDER / "bin/python")
