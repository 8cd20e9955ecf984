"""Each extra resolves beside llmpolicy's own dependencies: a dry run of pip's resolver, which takes
gigabytes for vllm.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
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
            versions[extra] = _versions(Path(folder) / "report.json")
    return versions


def _versions(report: Path) -> list[str]:
    import json

    installed = json.loads(report.read_text())["install"]
    return sorted(
        f"{item['metadata']['name']}=={item['metadata']['version']}" for item in installed
    )
