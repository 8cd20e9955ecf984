"""Tasksets of verifiers are played as verifiers plays them: the extra is installed into a folder of
its own beside this environment, and tests/test_verifiers.py runs with it.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from scripts.receipts._sources import ROOT

SOURCES = [
    "pyproject.toml",
    "llmpolicy/environments/verifiers*.py",
    "llmpolicy/environments/answered.py",
    "llmpolicy/environments/conversation.py",
    "scripts/receipts/verifiers.py",
    "tests/test_verifiers.py",
    "tests/tasksets/*.py",
]
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
TESTS = "tests/test_verifiers.py"


def measure() -> dict[str, Any]:
    """What the extra adds to this environment and what of it would have to change, and how the
    tests ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        chosen = _chosen(Path(folder) / "report.json")
        changed = {name: [_here(name), each] for name, each in chosen.items() if _here(name)}
        added = [f"{name}=={each}" for name, each in sorted(chosen.items()) if name not in changed]
        site = Path(folder) / "site"
        subprocess.run([*PIP, "--no-deps", "--target", str(site), *added], check=True)
        return {"added": added, "changed": changed, "tests": _tested(site, Path(folder))}


def _chosen(report: Path) -> dict[str, str]:
    """The versions that pip would install for the extra, by name."""
    command = [*PIP, "--dry-run", "--report", str(report), "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*command, f"{ROOT}[verifiers]"], check=True)
    installed = (item["metadata"] for item in read_json(report)["install"])
    return {each["name"]: each["version"] for each in installed if each["name"] != "llmpolicy"}


def _here(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tested(site: Path, folder: Path) -> dict[str, int]:
    """How many of the tests ended how."""
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", f"--junitxml={report}", TESTS]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(site)}, check=True)
    cases = xml.parse(report).getroot().iter("testcase")
    return dict(Counter(case[0].tag if len(case) else "passed" for case in cases))
