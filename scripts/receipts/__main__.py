"""Measured figures that take too long for every run of the tests: ``python scripts/receipts run
[NAME...]`` and ``check``.

Each file beside this one measures one figure: ``measure()`` returns it as plain data, and
``SOURCES`` names the files that the figure depends on. ``run`` writes receipts/NAME.json; ``check``
names the receipts whose sources have changed since.
"""

import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType

from llmpolicy.bounded import read_json
from scripts.receipts._sources import ROOT, fingerprint

HERE, OUT = Path(__file__).parent, ROOT / "receipts"


def names() -> list[str]:
    """The receipts that can be measured."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def load(name: str) -> ModuleType:
    """The module that measures a receipt."""
    return importlib.import_module(f"scripts.receipts.{name}")


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
        path, verdict = OUT / f"{name}.json", f"receipt {name} is up to date"
        if not path.exists():
            verdict = f"warning: receipt {name} has not been measured"
        elif read_json(path)["sources_sha256"] != fingerprint(load(name).SOURCES):
            verdict = f"warning: receipt {name} was measured on other sources than these"
        print(verdict)


def main(arguments: list[str]) -> None:
    """``run [NAME...]`` or ``check``."""
    verb, asked = arguments[:1], arguments[1:]
    if verb == ["check"]:
        check()
    elif verb == ["run"] and set(asked) <= set(names()):
        for name in asked or names():
            run(name)
    else:
        raise SystemExit(
            f"usage: python scripts/receipts run [NAME...] | check; names: {', '.join(names())}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
