"""The games of textarena and gem, from the package index, played by the tests of `test_games.py`:
installed beside this environment, whose own packages come first.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PLAY = """
import sys
sys.path.append(sys.argv[1])
import pytest
sys.exit(pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "-m", "not slow", "-rs", "-k",
    "not openenv and not verifiers", "tests/test_games.py"]))
"""


def install(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        pytest.skip(f"pip cannot install {words[-1]} here: {last:.200}")


@pytest.mark.slow
def test_the_games_of_the_index_are_played(tmp_path: Path) -> None:
    install(tmp_path, *EXTRAS["textarena"])
    install(tmp_path, "--no-deps", *EXTRAS["gem"])  # what it pins for other parts, this has newer
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PLAY, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    for library in ("textarena", "gem"):
        assert f"{library} is not installed" not in done.stdout
