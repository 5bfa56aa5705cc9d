"""The pinned Python environment of the parity suite, made once in `.venv-parity`.

Nothing of the product runs in it. A script that needs real transformers or PEFT starts with

    from environment import enter
    enter()

which makes the environment when it is missing or was made from other pins, then replaces the
process by the same script under that environment's interpreter. `python environment.py` alone
makes it and prints the interpreter's path.
"""

import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("GRAFT_PARITY_VENV", ROOT / ".venv-parity"))

# transformers 5.24 with peft 0.21.2 is the pair whose file formats and numbers Graft follows.
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
# Installed beside the others, without making the environment anew: PEFT's AdaMSS puts outputs in clusters with the
# first; transformers reads pictures and sounds with the others.
ADDED = ["scikit-learn==1.7.2", "pillow==13.0.0", "torchvision==0.28.0", "soundfile==0.14.0", "soxr==1.1.0", "jiwer==4.0.0"]


def interpreter() -> pathlib.Path:
    """The environment's Python, present or not."""
    return FOLDER / "bin" / "python"


def stamp() -> str:
    """Changes when the pins do, so that an old environment is remade."""
    return hashlib.sha256("\n".join(PINS).encode()).hexdigest()


def is_made() -> bool:
    marker = FOLDER / "pins.sha256"
    return interpreter().exists() and marker.exists() and marker.read_text() == stamp()


def is_ready() -> bool:
    # a build of a version has its name behind a plus
    packages = [pin.replace("-", "_").replace("==", "-") for pin in ADDED]
    return is_made() and all(any(FOLDER.glob(f"lib/*/site-packages/{name}*.dist-info")) for name in packages)


def make() -> None:
    """Makes the environment, or adds what it lacks; about 1 GB and two minutes from an ordinary package index."""
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
    """Returns only inside the environment; elsewhere makes it and starts the script again in it."""
    # No hub look-ups and no bytecode in the tree: a run must depend on the files alone. The hash
    # seed fixes the order of the sets that PEFT writes as lists.
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
