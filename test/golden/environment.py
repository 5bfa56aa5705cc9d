"""Pinned Python environment of the parity suite, created once in `.venv-parity`.

The product does not use it. A script that needs the real Transformers or PEFT starts with

    from environment import enter
    enter()

This creates the environment if it is missing or has other pins, and restarts the script with its interpreter.
`python environment.py` only creates it and prints the interpreter's path.
"""

import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("GRAFT_PARITY_VENV", ROOT / ".venv-parity"))

# Graft follows the file formats and results of transformers 5.24 with peft 0.21.2.
PINS = [
    "transformers==5.24.0",
    "peft==0.21.2",
    "torch==2.13.0",
    "tokenizers==0.23.3",
    "safetensors==0.8.0",
    "accelerate==1.15.0",
    "numpy==2.2.6",
    "gguf==0.19.0",
    "sentencepiece==0.2.3",
    "jinja2==3.1.6",
    "bitsandbytes==0.50.2",
]
# Installed without recreating the environment. PEFT's AdaMSS clusters outputs with scikit-learn; Transformers reads
# images and audio with the others.
ADDED = ["scikit-learn==1.7.2", "pillow==13.0.0", "torchvision==0.28.0", "soundfile==0.14.0", "soxr==1.1.0", "jiwer==4.0.0"]


def interpreter() -> pathlib.Path:
    """Path of the environment's Python, whether it exists or not."""
    return FOLDER / "bin" / "python"


def stamp() -> str:
    """Hash of the pins. If it changes, the environment is created again."""
    return hashlib.sha256("\n".join(PINS).encode()).hexdigest()


def is_made() -> bool:
    marker = FOLDER / "pins.sha256"
    return interpreter().exists() and marker.exists() and marker.read_text() == stamp()


def is_ready() -> bool:
    # local versions have a plus and a build name after the version
    packages = [pin.replace("-", "_").replace("==", "-") for pin in ADDED]
    return is_made() and all(any(FOLDER.glob(f"lib/*/site-packages/{name}*.dist-info")) for name in packages)


def make() -> None:
    """Creates the environment or installs missing packages. About 1 GB; takes about two minutes with an ordinary
    package index.
    """
    if sys.version_info < (3, 10):
        sys.exit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    print(f"making {FOLDER} (transformers, peft, torch)", file=sys.stderr, flush=True)
    pip = [str(interpreter()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not is_made():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        subprocess.run([*pip, *PINS], check=True)
        (FOLDER / "pins.sha256").write_text(stamp())
    subprocess.run([*pip, *PINS, *ADDED], check=True)


def enter() -> None:
    """Returns if the script runs in the environment. Otherwise creates it and restarts the script there."""
    # No Hub requests and no bytecode in the tree, so that a run depends on the files only. The hash seed fixes the
    # order of sets, which PEFT writes as lists.
    fixed = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    inside = pathlib.Path(sys.prefix).resolve() == FOLDER.resolve()
    if inside and all(os.environ.get(name) == value for name, value in fixed.items()):
        return
    if not is_ready():
        make()
    environment = {**os.environ, **fixed}
    environment.pop("PYTHONPATH", None)
    os.execve(str(interpreter()), [str(interpreter()), *sys.argv], environment)


if __name__ == "__main__":
    if not is_ready():
        make()
    print(interpreter())
