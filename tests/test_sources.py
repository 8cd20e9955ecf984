"""What a run was made from is compared by content when it goes on and when it is measured."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.bundled import MODEL
from llmpolicy.errors import RunError
from llmpolicy.plan import plan_recipe
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.provenance.code import code_facts
from llmpolicy.provenance.files import files_of, named_files
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run, sealed
from llmpolicy.run.sealed import content_digest
from llmpolicy.session.evaluate import evaluate_model
from llmpolicy.stages.policy import policy_at
from llmpolicy.stages.sources import refuse_changes, source_facts, unknown_lines
from tests.test_session import ROWS, recipe, run_of

REWARD = """
import helper_of_mine
from pathlib import Path
def mine(completion, words="words.txt"):
    return helper_of_mine.size(completion) + len((Path(__file__).parent / "list.json").read_text())
"""


def quietly(_: str) -> None:
    pass


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A recipe with a reward of several files, and rows, without a run."""
    (tmp_path / "mine.py").write_text(REWARD)
    (tmp_path / "helper_of_mine.py").write_text("def size(text):\n    return len(text) / 10\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "rubric.md").write_text("Is it short?")
    path = Path(recipe(tmp_path, rewards=["exact:match"]))
    data = yaml.safe_load(path.read_text())
    data["rewards"].append({"fn": "mine.py:mine", "args": {"words": "rubric.md"}})
    path.write_text(yaml.safe_dump(data))
    return tmp_path


def made(project: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.syspath_prepend(str(project))
    planned = load_recipe(str(project / "mine.yaml"))
    return Run.create(project / "run", planned.resolved(), **source_facts(plan_recipe(planned)))


def edit(project: Path) -> None:
    (project / "mine.py").write_text(REWARD + "# another\n")


def edit_import(project: Path) -> None:
    (project / "helper_of_mine.py").write_text("def size(text):\n    return 1.0\n")


def edit_list(project: Path) -> None:
    (project / "list.json").write_text("[1]")


def edit_rubric(project: Path) -> None:
    (project / "rubric.md").write_text("Is it long?")


def edit_rows(project: Path) -> None:
    rows = [{**row, "answer": "0"} if index == 5 else row for index, row in enumerate(ROWS)]
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit, "mine.py (of mine.py:mine)"),
        (edit_import, "helper_of_mine.py (of mine.py:mine)"),
        (edit_list, "list.json (of mine.py:mine)"),
        (edit_rubric, "rubric.md (of mine.py:mine's arguments)"),
        (edit_rows, "data rows.jsonl"),
    ],
)
def test_a_changed_file_is_named_refused_and_can_be_accepted(
    project: Path, change: Callable[[Path], None], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(project, monkeypatch)
    planned = load_recipe(str(project / "mine.yaml"))
    assert refuse_changes(run, source_facts(plan_recipe(planned)), accept=False, say=quietly) == []
    change(project)
    now = source_facts(plan_recipe(planned))
    with pytest.raises(RunError) as caught:
        refuse_changes(run, now, accept=False, say=quietly)
    assert f"was made with other content of {named}" in str(caught.value)
    assert "--accept-changes" in str(caught.value)
    said: list[str] = []
    assert refuse_changes(run, now, accept=True, say=said.append) == [named]
    assert said == [f"note: accepted as changed since the run began: {named}"]


@pytest.mark.parametrize("accept", [False, True])
def test_rows_that_would_hold_out_other_questions_are_never_accepted(
    project: Path, accept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit of the data once moved held-out questions into training."""
    run = made(project, monkeypatch)
    moved = plan_recipe(load_recipe(str(project / "mine.yaml"))).held_out[0].question
    rows = [
        {**row, "question": f"What is {row['question']}?"} if row["question"] == moved else row
        for row in ROWS
    ]
    assert rows != ROWS
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    now = source_facts(plan_recipe(load_recipe(str(project / "mine.yaml"))))
    with pytest.raises(RunError, match="other questions would be held out"):
        refuse_changes(run, now, accept=accept, say=quietly)


def test_rows_that_no_file_holds_are_compared_too(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import os\ndef rows():\n    answer = os.environ.get('ROWS_OF_A_TEST', '2')\n"
        "    return [{'question': f'{a}+1', 'answer': answer} for a in range(200)]\n"
    )
    path = recipe(tmp_path, task={"generator": "made.py:rows", "prompt": "{question}"})
    run = Run.create(tmp_path / "run", {}, **source_facts(plan_recipe(load_recipe(path))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROWS_OF_A_TEST", "3")
        now = source_facts(plan_recipe(load_recipe(path)))
    with pytest.raises(RunError, match="other content of the train and held-out rows"):
        refuse_changes(run, now, accept=False, say=quietly)


def test_another_reward_in_the_recipe_is_no_changed_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(project, monkeypatch)
    other = load_recipe(str(project / "mine.yaml"), ["rewards=[exact:match]"])
    edit(project)
    assert refuse_changes(run, source_facts(plan_recipe(other)), accept=False, say=quietly) == []


def test_the_shipped_rewards_of_another_version_are_said(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(project, monkeypatch)
    now: dict[str, Any] = source_facts(plan_recipe(load_recipe(str(project / "mine.yaml"))))
    for item in now["files"]:
        if item["file"] == "reward_fns/exact.py":
            item["sha256"] = "0"
    with pytest.raises(RunError, match="reward_fns/exact.py"):
        refuse_changes(run, now, accept=False, say=quietly)
    run.update_manifest(versions={"llmpolicy": "0.0.1"})
    said: list[str] = []
    assert refuse_changes(run, now, accept=False, say=said.append) == []
    assert said[0].startswith("note: the run was made with llmpolicy 0.0.1, this is ")


def test_the_files_of_a_function_are_its_own_and_not_those_of_installed_packages(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project))  # mine.py is executed, and imports its helper
    (project / "mine.py").write_text(
        REWARD + "import torch, json, yaml\nfrom llmpolicy.rewards import Score\n"
    )
    names = [path.name for path in files_of("mine.py:mine", project)]
    assert names == ["helper_of_mine.py", "list.json", "mine.py"]
    shipped = {path.name for path in files_of("exact:match")}
    assert "exact.py" in shipped
    assert not {"torch", "__init__.pyc"} & shipped
    assert [
        path.name for path in named_files({"a": ["rubric.md", "no such file", ""]}, project)
    ] == ["rubric.md"]


def test_of_a_model_what_loading_reads_is_compared(tmp_path: Path) -> None:
    """Not its page, a copy in another format, or a run that lies in its folder: those change and
    the model does not.
    """
    base = tmp_path / "base"
    CausalLMPolicy.load(MODEL).save(base)
    for name in (
        "README.md",
        "pytorch_model.bin",
        "runs/one/metrics.jsonl",
        "original/consolidated.00.pth",
        "code/a.py",
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("other")
    planned = load_recipe(recipe(tmp_path, model={"path": "base"}))
    names = {
        item["file"]
        for item in source_facts(plan_recipe(planned))["files"]
        if item["for"] == "model"
    }
    assert {"config.json", "model.safetensors", "tokenizer.json", "code/a.py"} <= names
    assert not {"README.md", "pytorch_model.bin"} & names
    assert not [name for name in names if name.startswith(("runs", "original"))]


def test_large_weights_are_compared_by_size_and_spread_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any size no more is read than the blocks; small ones, and what is no weights, are read
    whole.
    """
    monkeypatch.setattr(sealed, "BLOCK", 4)
    content, large = bytes(range(256)) * 40, tmp_path / "model.safetensors"
    large.write_bytes(content)
    digest = content_digest(large)
    assert digest.startswith("256 blocks: ")
    for other in (
        content[:-1],
        content + b"\0",
        content[:-1] + b"\0",
        b"\1" + content[1:],
        bytes(len(content)),
    ):
        large.write_bytes(other)
        assert content_digest(large) != digest
    (tmp_path / "rows.jsonl").write_bytes(content)
    (tmp_path / "small.safetensors").write_bytes(content[:1024])
    assert content_digest(tmp_path / "rows.jsonl") == sha256(content).hexdigest()
    assert content_digest(tmp_path / "small.safetensors") == sha256(content[:1024]).hexdigest()


def test_a_run_goes_on_and_is_measured_only_as_it_was_made(tmp_path: Path) -> None:
    """Also where the base is a folder: another model under its name."""
    CausalLMPolicy.load(MODEL).save(tmp_path / "base")
    model = {"path": "base", "lora": {"r": 4}}
    run = run_of(tmp_path, model=model)
    assert {item["for"] for item in run.manifest["files"]} == {"exact:match", "data", "model"}
    policy = policy_at(tmp_path / "base", load_recipe(str(run.path / "recipe.yaml")))
    policy.model.lm_head.weight.data.mul_(1.01)
    policy.save(tmp_path / "base")
    for go in (
        lambda: run_of(tmp_path, "grpo.max_steps=2", resume=True, model=model),
        lambda: evaluate_model(str(run.path), None, [], say=quietly),
    ):
        with pytest.raises(
            RunError, match=r"was made with other content of model model.safetensors: bring it back"
        ):
            go()
    measured = evaluate_model(str(run.path), None, [], say=quietly, accept_changes=True)
    assert measured["accepted_changes"] == ["model model.safetensors"]


PARTS: dict[str, str] = {
    "path": "WORDS = (Path(__file__).parent / 'data' / 'words.txt').read_text()",
    "join": "WORDS = open(os.path.join(os.path.dirname(__file__), 'data', 'words.txt')).read()",
    "a variable": (
        "DATA = Path(__file__).parent / 'data'\nNAME = 'words.txt'\nWORDS = (DATA /"
        " NAME).read_text()"
    ),
    "an f-string": (
        "KIND = 'words'\nWORDS = (Path(__file__).parent / 'data' / f'{KIND}.txt').read_text()"
    ),
    "a pattern": "WORDS = [p.read_text() for p in (Path(__file__).parent / 'data').glob('*.txt')]",
    "a listing": "WORDS = [p.read_text() for p in (Path(__file__).parent / 'data').iterdir()]",
    "an import": "WORDS = importlib.import_module('told_by_name').WORDS",
    "an import of a variable": "NAME = 'told_by_name'\nWORDS = __import__(NAME).WORDS",
}


@pytest.mark.parametrize("written", PARTS)
def test_a_file_that_a_module_names_in_parts_or_imports_by_name_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words.txt").write_text("one")
    (tmp_path / "data" / "other.csv").write_text("unread")
    (tmp_path / "told_by_name.py").write_text("WORDS = 'one'\n")
    head = "import importlib, os\nfrom pathlib import Path\n"
    (tmp_path / "mine.py").write_text(
        f"{head}{PARTS[written]}\ndef mine(completion):\n    return float(len(WORDS))\n"
    )
    names = {path.name for path in files_of("mine.py:mine", tmp_path)}
    assert ("told_by_name.py" if "import" in written else "words.txt") in names
    assert ("other.csv" in names) == (written == "a listing")


def in_a_cell(text: str) -> Any:
    """The last thing that a text makes, of which Python knows no file, as in a notebook or from
    stdin.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "<stdin>", "exec"), space)  # noqa: S102
    return space["mine"]


CELLS = {
    "code": ("def mine(completion):\n    return len(completion) + {}\n", "the code"),
    "an inner function": ("def mine(completion):\n    return (lambda: {})()\n", "the code"),
    "a global": ("WORDS = ['a', {}]\ndef mine(completion):\n    return len(WORDS)\n", "the code"),
    "a helper": (
        "def help():\n    return {}\ndef mine(completion):\n    return help()\n",
        "the code",
    ),
    "a partial": (
        (
            "from functools import partial\ndef score(completion, n):\n    return n\nmine ="
            " partial(score, n={})\n"
        ),
        "the values",
    ),
    "an object": (
        (
            "class Mine:\n    def __init__(self, words):\n        self.words = words\n"
            "    def __call__(self, completion):\n        return 1.0\nmine = Mine([{}])\n"
        ),
        "the values",
    ),
    "a method": (
        (
            "class Mine:\n    def __init__(self, words):\n        self.words = words\n"
            "    def score(self, completion):\n        return 1.0\nmine = Mine({{'a': {}}}).score\n"
        ),
        "the values",
    ),
    "another method": (
        (
            "class Mine:\n    def help(self):\n        return {}\n"
            "    def __call__(self, completion):\n        return self.help()\nmine = Mine()\n"
        ),
        "the code",
    ),
    "a closure": (
        (
            "def make(n):\n    def mine(completion):\n        return n\n    return mine\nmine ="
            " make({})\n"
        ),
        "the values",
    ),
    "a default": ("def mine(completion, n={}):\n    return n\n", "the values"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_function_that_no_file_holds_is_compared_by_its_code_and_its_values(
    tmp_path: Path, kind: str
) -> None:
    text, named = CELLS[kind]
    path = recipe(tmp_path)

    def facts(value: int) -> dict[str, Any]:
        planned = load_recipe(path)
        planned.rewards = [
            planned.rewards[0].model_copy(update={"fn": in_a_cell(text.format(value))})
        ]
        return source_facts(plan_recipe(planned))

    run = Run.create(tmp_path / "run", {}, **facts(1))
    assert refuse_changes(run, facts(1), accept=False, say=quietly) == []
    with pytest.raises(RunError, match=f"was made with other content of {named} \\(of "):
        refuse_changes(run, facts(2), accept=False, say=quietly)


def test_the_local_module_of_a_function_without_a_file_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside_a_cell.py").write_text("def size(text):\n    return 1.0\n")
    for text in (
        "import beside_a_cell\ndef mine(completion):\n    return beside_a_cell.size(completion)\n",
        (
            "from beside_a_cell import size\nimport json\ndef mine(completion):\n    return"
            " size(json.dumps(completion))\n"
        ),
    ):
        assert files_of(in_a_cell(text)) == [tmp_path / "beside_a_cell.py"]


def test_what_cannot_be_compared_is_said_to_be_unknown(tmp_path: Path) -> None:
    planned = load_recipe(recipe(tmp_path))
    mine = in_a_cell(
        "import threading\nLOCK = threading.Lock()\ndef mine(completion):\n    return"
        " LOCK.locked()\n"
    )
    planned.rewards = [planned.rewards[0].model_copy(update={"fn": mine})]
    said = list(unknown_lines(planned))
    assert len(said) == 1
    assert said[0].startswith("note: mine holds _thread.lock, whose content is unknown")


def test_a_class_of_a_session_is_known_by_its_methods() -> None:
    """An environment, a policy or a baseline may be one."""
    text = "class mine:\n    def step(self, action):\n        return action + {}\n"
    first, again, changed = (code_facts(in_a_cell(text.format(n))) for n in (1, 1, 2))
    assert first == again != changed
    assert list(first) == ["code"]
