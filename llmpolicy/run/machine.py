"""Versions, source revision and machine of a run."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from llmpolicy import secrets

PACKAGES = (
    "llmpolicy",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "gymnasium",
)
DESCRIBE = "describe --always --abbrev=40 --dirty=+changes --exclude=*"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def environment() -> dict[str, Any]:
    """Versions, source revision and machine: what a reader needs to run it again."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "python -m llmpolicy")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "versions": versions,
        "git": git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "gpus": _gpus(),
        },
        "command": redact(" ".join([program, *sys.argv[1:]])),
    }


def _gpus() -> list[str]:
    """The names of the GPUs, as far as a torch that is loaded already knows of any."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if not cuda or not cuda.is_available():
        return []
    return list(map(cuda.get_device_name, range(cuda.device_count())))


def git_revision(folder: Path | None = None) -> str | None:
    """The commit of the sources, with ``+changes`` when they differ from it; None outside a
    checkout.
    """
    command = ["git", "-C", str(folder or Path(__file__).parent), *DESCRIBE.split()]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    return None


def redact(text: str) -> str:
    """A text with ``[redacted]`` in the place of what looks like a secret, or is one of this
    process's environment.
    """
    return secrets.redact(text, secrets.values_of(os.environ))
