"""tcmalloc, Hugging Face's advice for CPUs."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tcmalloc() -> pathlib.Path:
    """Path of the system's library, or of its package unpacked in .cache."""
    name = "libtcmalloc_minimal.so.4"
    cache = ROOT / ".cache" / "tcmalloc"
    for folder in (pathlib.Path("/usr/lib"), cache):
        for found in sorted(folder.rglob(name)) if folder.exists() else []:
            return found
    cache.mkdir(parents=True, exist_ok=True)
    for package in ("libtcmalloc-minimal4t64", "libtcmalloc-minimal4"):
        if subprocess.run(["apt-get", "download", package], cwd=cache, capture_output=True).returncode == 0:
            archive = next(cache.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg", "-x", str(archive), str(cache)], check=True)
            return next(cache.rglob(name))
    raise FileNotFoundError(f"{name}: install libtcmalloc-minimal4, apt-get could not download it")
