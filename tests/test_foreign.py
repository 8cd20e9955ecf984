"""What lies in the current folder runs nowhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = (
    "llmpolicy",
    "reward_fns",
    "torch",
    "yaml",
    "pydantic",
    "typer",
    "rich",
    "numpy",
    "psutil",
    "regex",
    "sympy",
)
BAIT = """
import sys, posix
noted = posix.open({note!r}, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o600)
posix.write(noted, f"{{__name__}} in {{sys.orig_argv}}\\n".encode())
posix.close(noted)
before, own = sys.path[:], __file__.rpartition("/")[0]
sys.path[:] = [place for place in before if place not in ("", own)]
sys.path_importer_cache.clear()
del sys.modules[__name__]
__import__(__name__)
sys.path[:] = before
"""
"""Notes that it was imported, and makes way for the true module."""

TINY = [
    "grpo.max_steps=1",
    "grpo.per_device_train_batch_size=8",
    "grpo.num_generations=4",
    "evaluate=null",
]


@pytest.fixture
def baited(tmp_path: Path) -> Path:
    """A folder with a module of every name that Python, llmpolicy or its libraries import."""
    folder = tmp_path / "baited"
    folder.mkdir()
    names = {
        *sys.stdlib_module_names,
        *LIBRARIES,
        "sitecustomize",
        "usercustomize",
        "sagemaker",
        "apex",
    }
    for name in names - {"sys", "posix", "builtins", "__main__"}:
        (folder / f"{name}.py").write_text(BAIT.format(note=str(tmp_path / "imported")))
    return folder


def ran(folder: Path, *command: str, code: int = 0) -> str:
    """What of a folder was imported by a command that was given in it."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=given, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr[-2000:]
    note = folder.parent / "imported"
    return note.read_text() if note.is_file() else ""


SCRIPTS = ROOT / "scripts"
COMMAND = ["-P", "-c", "from llmpolicy.__main__ import main; main()"]
"""As the installed command begins."""


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([*COMMAND, "check-reward", "exact:match"], id="check-reward"),
        pytest.param([str(SCRIPTS / "train_grpo.py"), "quickstart", "--dry-run"], id="script", marks=SLOW),
        pytest.param([*COMMAND, "train", "quickstart", *TINY, "--out", "run"], id="train", marks=SLOW),
        pytest.param(["-P", "-m", "llmpolicy", "explain", "quickstart"], id="module", marks=SLOW),
        pytest.param(["-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--reward", "exact:match"], id="pytest", marks=SLOW),
    ],
)  # fmt: skip
def test_nothing_in_the_current_folder_is_imported(baited: Path, command: list[str]) -> None:
    assert ran(baited, *command) == ""


def test_a_script_copied_into_a_project_imports_nothing_of_it(baited: Path) -> None:
    (baited / "train_grpo.py").write_text((SCRIPTS / "train_grpo.py").read_text())
    assert ran(baited, "train_grpo.py", "quickstart", "no_such_key=1", code=2) == ""


SHOWN = """
import json, os, sys
from llmpolicy.__main__ import leave_current_folder
leave_current_folder()
print(json.dumps([sys.path, os.environ["PYTHONPATH"]]))
"""


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        (":{root}", "{root}"), ("{root}:.", "{root}"), ("{root}::/opt", "{root}:/opt"), ("./:{root}:lib", "{root}"),
        ("{root}:{here}", "{root}:{here}"),
    ],
)  # fmt: skip
def test_entries_of_pythonpath_that_do_not_begin_at_the_root_are_left_out(
    tmp_path: Path, entries: str, kept: str
) -> None:
    """Python's own start looks there; nothing of llmpolicy's does, nor its children."""
    entries, kept = (text.format(root=ROOT, here=tmp_path) for text in (entries, kept))
    done = subprocess.run(
        [sys.executable, "-P", "-c", SHOWN], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": entries},
    )  # fmt: skip
    path, left = json.loads(done.stdout)
    assert left == kept
    assert [place for place in path if not os.path.isabs(place)] == []
    assert {str(tmp_path), str(tmp_path / "lib")} & set(path) == {str(tmp_path)} & {
        *kept.split(":")
    }


def test_a_folder_that_python_put_first_is_left_out_once(tmp_path: Path) -> None:
    """A module started by -m, or a command typed into -c."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "" not in json.loads(done.stdout)[0]


@pytest.mark.parametrize("entries", [None, "", "/opt::."])
def test_a_checkout_that_is_installed_stays_when_it_is_the_current_folder(
    entries: str | None,
) -> None:
    """An editable install is found by a file of site-packages that names the checkout, which Python
    reads as ours here.
    """
    environment = {**os.environ, "PYTHONPATH": entries or ""}
    if entries is None:
        del environment["PYTHONPATH"]
    installed = f"import sys; sys.path.append({str(ROOT)!r})\n"
    shown = SHOWN.replace('os.environ["PYTHONPATH"]', 'os.environ.get("PYTHONPATH")')
    done = subprocess.run(
        [sys.executable, "-P", "-c", installed + shown],
        cwd=ROOT,
        capture_output=True,
        env=environment,
    )
    path, left = json.loads(done.stdout)
    assert str(ROOT) in path and left in (entries, "/opt")
