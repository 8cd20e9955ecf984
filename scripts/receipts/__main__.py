"""Measured figures that take too long for every run of the tests: ``python scripts/receipts run
[NAME...]`` and ``check``.

Each file beside this one measures one figure: ``measure()`` returns it as plain data, and
``SOURCES`` names the files that the figure depends on. ``run`` writes receipts/NAME.json; ``check``
names the receipts whose sources have changed since.
"""

import hashlib
import importlib.util
import json
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUT = ROOT / "receipts"


def names() -> list[str]:
    """The receipts that can be measured."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def load(name: str) -> ModuleType:
    """The module that measures a receipt."""
    spec = importlib.util.spec_from_file_location(f"receipt_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fingerprint(sources: list[str]) -> str:
    """One hash over the content of all files that the patterns name; a pattern without a file is an
    error.
    """
    digest = hashlib.sha256()
    for pattern in sorted(sources):
        paths = sorted(filter(Path.is_file, ROOT.glob(pattern)))
        if not paths:
            raise SystemExit(f"receipts: no file matches the source {pattern!r}")
        for path in paths:
            if "__pycache__" in path.parts:
                continue
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def run(name: str) -> None:
    """Measure one receipt and write it."""
    from llmpolicy.run import git_revision

    module, start = load(name), time.time()
    print(f"{name}: measuring", flush=True)
    figure = module.measure()
    receipt = {
        "schema": 1,
        "name": name,
        "figure": figure,
        "command": f"python scripts/receipts run {name}",
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.time() - start),
        "commit": git_revision(ROOT),
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "sources": sorted(module.SOURCES),
        "sources_sha256": fingerprint(module.SOURCES),
    }
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
    print(f"{name}: {receipt['seconds']} s, receipts/{name}.json", flush=True)


def check() -> None:
    """Name the receipts that are missing or whose sources have changed; it warns and does not
    fail.
    """
    for name in names():
        path = OUT / f"{name}.json"
        if not path.exists():
            print(f"warning: receipt {name} has not been measured")
            continue
        measured = json.loads(path.read_text(encoding="utf-8"))["sources_sha256"]
        if measured != fingerprint(load(name).SOURCES):
            print(f"warning: receipt {name} was measured on other sources than these")
        else:
            print(f"receipt {name} is up to date")


def main(arguments: list[str]) -> None:
    """``run [NAME...]`` or ``check``."""
    if arguments[:1] == ["check"]:
        return check()
    if arguments[:1] != ["run"] or set(arguments[1:]) - set(names()):
        raise SystemExit(
            f"usage: python scripts/receipts run [NAME...] | check; names: {', '.join(names())}"
        )
    for name in arguments[1:] or names():
        run(name)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
