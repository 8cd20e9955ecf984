"""Versions, source revision and machine of a run."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
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


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def environment() -> dict[str, Any]:
    """Versions, source revision and machine: what a reader needs to run it again."""
    return {
        "versions": {"python": platform.python_version(), **dict(_versions(PACKAGES))},
        "git": git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "gpus": _gpus(),
        },
        "command": redact(" ".join([_program(), *sys.argv[1:]])),
    }


def _program() -> str:
    name = Path(sys.argv[0]).name
    return "python -m llmpolicy" if name == "__main__.py" else name


def _gpus() -> list[str]:
    """The names of the GPUs, as far as a torch that is loaded already knows of any."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return (
        [cuda.get_device_name(i) for i in range(cuda.device_count())]
        if cuda and cuda.is_available()
        else []
    )


def _versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package)


def git_revision(folder: Path | None = None) -> str | None:
    """The commit of the sources, with ``+changes`` when they differ from it; None outside a
    checkout.
    """
    folder = folder or Path(__file__).parent
    command = [
        "git",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+changes",
        "--exclude=*",
    ]
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
