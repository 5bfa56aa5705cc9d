"""Environment with experiment trackers for the parity suite, created once in `.venv-trackers`: python3
test/parity/trackers.py
"""

import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("GRAFT_TRACKERS_VENV", ROOT / ".venv-trackers"))

PINS = ["tensorboard==2.21.0", "mlflow==3.17.2", "wandb==0.31.0"]


def make() -> None:
    """Creates the environment, about 1 GB from an ordinary package index."""
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
