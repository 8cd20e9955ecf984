"""Each extra resolves beside llmpolicy's own dependencies: a dry run of pip's resolver, which takes
gigabytes for vllm.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from llmpolicy.bounded import read_json
from scripts.receipts._sources import ROOT

SOURCES = ["pyproject.toml", "constraints.txt", "constraints-vllm.txt"]
ASK = "-m pip install --dry-run --ignore-installed --quiet"
CONSTRAINTS = {
    "vllm": "constraints-vllm.txt",
    "quantization": "constraints.txt",
    "trackio": "constraints.txt",
    "dev": "constraints.txt",
}


def measure() -> dict[str, list[str]]:
    """For each extra the versions that the resolver chose for it; raises CalledProcessError when
    one does not resolve.
    """
    versions = {}
    for extra, constraints in CONSTRAINTS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, *ASK.split(), "--report", f"{folder}/report.json"]
            command += ["-c", str(ROOT / constraints), f"{ROOT}[{extra}]"]
            subprocess.run(command, check=True)
            installed = read_json(Path(folder) / "report.json")["install"]
            chosen = [item["metadata"] for item in installed]
            versions[extra] = sorted(map("{0[name]}=={0[version]}".format, chosen))
    return versions
