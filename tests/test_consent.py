"""Somebody else's code runs after a word of the user's, and then as long as it stays what it
was.
"""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy import consent
from llmpolicy.audit.show import replay
from llmpolicy.errors import ConsentError, LLMPolicyError, RecipeError
from llmpolicy.recipe import load_recipe
from llmpolicy.rewards import RewardError, Rewards, RewardSpec
from llmpolicy.run import Run
from llmpolicy.session import evaluate_model, train_recipe
from llmpolicy.session.evaluate import explain_recipe

ROOT = Path(__file__).parent.parent
EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")

def pay(completion, answer):
    return float(answer in completion)

def rows(n=8):
    return [{{"question": f"{{a}}+{{a}}", "answer": str(a + a)}} for a in range(n)]

def same(row):
    return row["question"]
"""
GRPO = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "num_generations": 4,
    "max_completion_length": 8,
}
PLAIN: dict[str, Any] = {
    "model": "bundled",
    "task": {
        "rows": [{"question": f"{a}+1", "answer": str(a + 1)} for a in range(8)],
        "prompt": "{question}",
    },
    "rewards": "exact:match",
    "grpo": GRPO,
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of whom nothing is remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "evil.py").write_text(EVIL.format(marker=str(tmp_path / "ran")))
    return folder


def recipe(folder: Path, name: str = "r.yaml", **changes: Any) -> Path:
    (folder / name).write_text(yaml.safe_dump({**PLAIN, **changes}))
    return folder / name


NAMED = {
    "a reward": {"rewards": "evil.py:pay"},
    "a part of a reward": {"rewards": {"min": ["exact:match", {"product": ["evil.py:pay"]}]}},
    "what is correct": {"evaluate": {"correct": "evil.py:pay", "n": 2}},
    "a generator": {"task": {"generator": "evil.py:rows", "prompt": "{question}"}},
    "a canonical rule": {"task": {**PLAIN["task"], "canonical": "evil.py:same"}},
    "a held-out task": {
        "evaluate": {"correct": "exact:match", "n": 2, "task": {"generator": "evil.py:rows"}}
    },
}


@pytest.mark.parametrize("changes", NAMED.values(), ids=NAMED.keys())
def test_a_recipe_is_explained_after_the_user_has_agreed(
    theirs: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    named = recipe(theirs, **changes)
    with pytest.raises(ConsentError, match="evil.py:.* in .*evil.py.*--yes"):
        explain_recipe(str(named))
    assert not (tmp_path / "ran").exists()
    explain_recipe(str(named), yes=True)
    assert (tmp_path / "ran").exists()


def test_what_was_agreed_to_is_known_by_its_content(theirs: Path, tmp_path: Path) -> None:
    named = recipe(theirs, rewards="evil.py:pay")
    explain_recipe(str(named), yes=True)
    explain_recipe(str(named))
    moved = theirs.rename(tmp_path / "elsewhere")
    explain_recipe(str(moved / "r.yaml"))
    with (moved / "evil.py").open("a") as file:
        file.write("\nmore = 1\n")
    with pytest.raises(ConsentError):
        explain_recipe(str(moved / "r.yaml"))


def test_a_module_beside_it_counts(theirs: Path) -> None:
    (theirs / "helper.py").write_text("word = 'yes'\n")
    (theirs / "mine.py").write_text(
        "import sys, pathlib\nsys.path.append(str(pathlib.Path(__file__).parent))\nimport helper\n"
        "def pay(completion):\n    return float(helper.word in completion)\n"
    )
    named = recipe(theirs, rewards="mine.py:pay")
    explain_recipe(str(named), yes=True)
    explain_recipe(str(named))
    (theirs / "helper.py").write_text("word = 'no'\n")
    with pytest.raises(ConsentError):
        explain_recipe(str(named))


def test_ones_own_way_is_never_asked(theirs: Path, tmp_path: Path) -> None:
    """What a user trains, by file or from Python, runs; and from then on is explained, evaluated
    and gone on with.
    """
    named = recipe(theirs, rewards="evil.py:pay")
    lines: list[str] = []
    with pytest.raises(SystemExit):
        train_recipe(str(named), [], dry_run=True, say=lines.append)
    assert [line for line in lines if "for the first time" in line] == [
        f"note: rewards.0.fn runs evil.py:pay in {theirs / 'evil.py'}, for the first time"
    ]
    explain_recipe(str(named))
    lines.clear()
    with pytest.raises(SystemExit):
        train_recipe(str(named), [], dry_run=True, say=lines.append)
    assert not [line for line in lines if "for the first time" in line]


def their_run(folder: Path, **changes: Any) -> Path:
    """A run as it lies there after somebody has sent it."""
    data = load_recipe(str(recipe(folder, **changes))).resolved()
    run = Run.create(folder / "run", data, base_dir=str(folder), base_dir_from_run="..")
    call = {
        "fn": "evil.py:pay",
        "args": {},
        "chosen": {"completion": "4", "answer": "4"},
        "base_dir": str(folder),
    }
    call |= {"style": "single", "timeout": 10.0}
    noted = {
        "reward": "pay",
        "row": 0,
        "step": 1,
        "completion": "4",
        "why": "it raised",
        "call": call,
    }
    (run.path / "faults.jsonl").write_text(json.dumps(noted) + "\n")
    run.policy_dir.mkdir()
    run.finish("finished")
    return run.path


def test_a_run_of_somebody_else_runs_nothing_unasked(theirs: Path, tmp_path: Path) -> None:
    run = their_run(theirs, rewards="evil.py:pay", evaluate={"correct": "evil.py:pay", "n": 2})
    doors: list[Any] = [
        lambda: evaluate_model(str(run)),
        lambda: evaluate_model("bundled", str(run / "recipe.yaml")),
        lambda: explain_recipe(str(run / "recipe.yaml")),
        lambda: train_recipe(str(run / "recipe.yaml"), [], out=run, resume=True),
        lambda: train_recipe(str(run / "recipe.yaml"), [], out=tmp_path / "new"),
        lambda: replay(f"{run / 'faults.jsonl'}:1"),
    ]
    for door in doors:
        with pytest.raises(ConsentError, match="evil.py:pay"):
            door()
    assert not (tmp_path / "ran").exists()
    assert "now        1.0" in replay(f"{run / 'faults.jsonl'}:1", yes=True)


def test_a_recipe_of_ones_own_does_not_let_in_that_of_the_run(theirs: Path, tmp_path: Path) -> None:
    """Its own rows are compared with the held-out ones, by its own generator."""
    run = their_run(theirs, task={"generator": "evil.py:rows", "prompt": "{question}"})
    mine = recipe(tmp_path, "mine.yaml", evaluate={"correct": "exact:match", "n": 2})
    with pytest.raises(ConsentError, match="evil.py:rows"):
        evaluate_model(str(run), str(mine))
    assert not (tmp_path / "ran").exists()


HARMFUL = {
    "os:system": {"command": "touch ran"},
    "subprocess:check_output": {"args": ["touch", "ran"]},
    "posix:system": {"command": "touch ran"},
    "builtins:exec": {"source": "1"},
    "llmpolicy.run.files:write_text": {"path": "ran", "text": "x"},
    "exact:re.sub": {"pattern": "a", "repl": "b"},
    "reward_fns.reasoning_gym:inspect.getsource": {},
    "llmpolicy.tools.search:Path.touch": {"self": "ran"},
    "llmpolicy.environments.players:Players": {"source": "os:system"},
}


@pytest.mark.parametrize(("name", "args"), HARMFUL.items(), ids=HARMFUL.keys())
def test_any_function_of_python_is_code_with_its_arguments(
    tmp_path: Path, name: str, args: dict[str, Any]
) -> None:
    data = {"rewards": [{"fn": name, "args": args}]}
    with pytest.raises(ConsentError, match=name):
        consent.need("explaining", data, tmp_path, yes=False)
    consent.need("explaining", data, tmp_path, yes=True)
    consent.need("explaining", data, tmp_path, yes=False)
    with pytest.raises(ConsentError):
        consent.need(
            "explaining", {"rewards": [{"fn": name, "args": {"other": 1}}]}, tmp_path, yes=False
        )


def test_what_a_known_file_has_only_imported_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\ndef pay(completion): return 1.0\n")
    consent.need("explaining", {"rewards": [{"fn": "mine.py:pay"}]}, tmp_path, yes=True)
    with pytest.raises(ConsentError):
        consent.need(
            "explaining",
            {"rewards": [{"fn": "mine.py:os.system", "args": {"command": "x"}}]},
            tmp_path,
            yes=False,
        )


@pytest.mark.parametrize(
    "name",
    [
        "exact:match",
        "reward_fns.exact:match",
        "llmpolicy.bundled.addition:questions",
        "llmpolicy.tools.calculator:calculator",
        "llmpolicy.environments.guess:Guess",
        "no:such",
    ],
)
def test_what_comes_along_is_not_asked_for(tmp_path: Path, name: str) -> None:
    assert consent.code_of({"rewards": [{"fn": name}]}, tmp_path) == []


def test_a_judge_elsewhere_gets_no_key_unasked(tmp_path: Path) -> None:
    args = {"base_url": "https://theirs.example/v1", "model": "m"}
    data = {"rewards": [{"fn": "judge:score", "args": args}]}
    with pytest.raises(
        ConsentError, match=r"the key in \$OPENAI_API_KEY, to https://theirs.example/v1"
    ):
        consent.need("evaluating", data, tmp_path, yes=False)


def test_an_environment_of_a_module_is_code(tmp_path: Path) -> None:
    assert consent.code_of({"environment": {"id": "os:CartPole-v1"}}, tmp_path)
    assert not consent.code_of({"environment": {"id": "CartPole-v1"}}, tmp_path)


def test_the_server_of_an_environment_is_said(tmp_path: Path) -> None:
    data = {"environment": {"openenv": "http://theirs.example"}}
    with pytest.raises(ConsentError, match=r"what the model says to http://theirs\.example"):
        consent.need("training", data, tmp_path, yes=False)
    assert not consent.code_of({"environment": {"reasoning_gym": "gcd"}}, tmp_path)


def test_a_taskset_is_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content where that is not installed, with what its arguments name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_tasks.py").write_text("raise SystemExit('imported')\n")
    args = {"task": {"rewards": {"fast": {"fn": "mine.py:fast"}}}}
    (tmp_path / "mine.py").write_text("def fast(trace):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    data = {"environment": {"verifiers": "them/Their-Tasks@2", "args": args}}
    codes = consent.code_of(data, tmp_path)
    assert [code.key for code in codes][0] == "environment.verifiers"
    assert any("mine.py:fast" in code.says for code in codes[1:])
    (tmp_path / "their_tasks.py").write_text("raise SystemExit('changed')\n")
    assert consent.code_of(data, tmp_path)[0].digest != codes[0].digest
    assert consent.code_of({"environment": {"verifiers": "not_there"}}, tmp_path)


@pytest.mark.parametrize("state", ["", ".", "state", "/proc/nowhere"])
def test_no_other_place_answers_for_the_user(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A folder that came with the recipe cannot say that it was agreed to; a home that cannot be
    written forgets.
    """
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.chdir(theirs)
    named = recipe(theirs, rewards="evil.py:pay")
    for folder in (theirs, theirs / "state"):
        kept = folder / "llmpolicy" / "code_that_ran"
        kept.parent.mkdir(parents=True)
        kept.write_text(
            f"{consent.code_of({'rewards': [{'fn': 'evil.py:pay'}]}, theirs)[0].digest}  x\n"
        )
    for _ in range(2):
        with pytest.raises(ConsentError):
            explain_recipe(str(named))
    explain_recipe(str(named), yes=True)


# The command line


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "llmpolicy", *words]


def environment(state: Path) -> dict[str, str]:
    return {
        **os.environ,
        "XDG_STATE_HOME": str(state),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "500",
    }


def test_without_a_terminal_the_command_to_give_is_said_and_does_it(
    theirs: Path, state: Path, tmp_path: Path
) -> None:
    named = recipe(theirs, rewards="evil.py:pay")
    how: dict[str, Any] = {
        "env": environment(state),
        "capture_output": True,
        "text": True,
        "stdin": subprocess.DEVNULL,
    }
    done = subprocess.run(command("explain", str(named)), **how)
    assert (done.returncode, done.stderr.count("\n"), (tmp_path / "ran").exists()) == (
        2,
        1,
        False,
    ), done.stderr
    assert done.stderr.startswith("error: explaining ")
    said = shlex.split(done.stderr.rpartition("go on with: ")[2])
    assert said == ["llmpolicy", "explain", str(named), "--yes"]
    assert subprocess.run(command(*said[1:]), **how).returncode == 0
    assert subprocess.run(command("explain", str(named)), **how).returncode == 0


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_in_a_terminal_the_user_is_asked(
    theirs: Path, state: Path, tmp_path: Path, typed: str, code: int
) -> None:
    named = recipe(theirs, rewards="evil.py:pay")
    ours, its = pty.openpty()
    process = subprocess.Popen(
        command("explain", str(named)), stdin=its, stdout=its, stderr=its, env=environment(state)
    )
    os.close(its)
    seen = ""
    while "[y/N]" not in seen:
        seen += os.read(ours, 4096).decode()
    assert "evil.py:pay in " in seen and not (tmp_path / "ran").exists()
    os.write(ours, typed.encode())
    try:
        while os.read(ours, 4096):
            continue
    except OSError:
        pass
    assert (process.wait(), (tmp_path / "ran").exists()) == (code, code == 0)
    os.close(ours)


# Code that comes with a model


def test_only_the_command_lets_the_code_of_a_model_run(tmp_path: Path) -> None:
    trusting = {"path": "bundled", "trust_remote_code": True}
    named = recipe(tmp_path, model=trusting)
    with pytest.raises(
        RecipeError, match=r"r.yaml:\d+: model.trust_remote_code.*--trust-remote-code"
    ):
        load_recipe(str(named))
    for given in (
        ["model.trust_remote_code=true"],
        ["model={path: bundled, trust_remote_code: true}"],
    ):
        assert load_recipe(str(named), given).model.trust_remote_code
    run = Run.create(tmp_path / "run", {**PLAIN, "model": trusting})
    for door in (
        lambda: evaluate_model(str(run.path)),
        lambda: train_recipe(str(run.path / "recipe.yaml"), []),
    ):
        with pytest.raises(RecipeError, match="--trust-remote-code"):
            door()


def test_nor_is_it_said_in_the_arguments_of_a_reward(tmp_path: Path) -> None:
    args = {"model": "somebody/theirs", "trust_remote_code": True}
    named = recipe(
        tmp_path, rewards=[{"min": ["exact:match", {"fn": "reward_model:score", "args": args}]}]
    )
    key = "rewards.0.min.1.args.trust_remote_code"
    with pytest.raises(LLMPolicyError, match=f"then give {key}=true"):
        load_recipe(str(named))
    load_recipe(str(named), [f"{key}=true"])


THEIRS = """
from pathlib import Path
from transformers import LlamaForCausalLM

Path({marker!r}).write_text("ran")

class Theirs(LlamaForCausalLM):
    pass
"""


def test_publishing_runs_no_code_but_that_of_a_model_by_the_word_of_the_command(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, dynamic_module_utils

    from llmpolicy.errors import PublishError
    from llmpolicy.publish import publish, publish_run
    from tests.models import model, tokenizer

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model("llama", seed=1).save_pretrained(base)
    tokenizer().save_pretrained(base)
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(adapter)
    tokenizer().save_pretrained(adapter)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(
        json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "modeling_theirs.Theirs"}})
    )
    (base / "modeling_theirs.py").write_text(THEIRS.format(marker=str(tmp_path / "ran")))
    run = Path(their_run(theirs, rewards="evil.py:pay"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["model"] |= {"path": str(base), "trust_remote_code": True}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run.joinpath("policy").rmdir()
    adapter.rename(run / "policy")
    for door in (
        lambda: publish(Run.open(run), "a/b", dry_run=True),
        lambda: publish_run(run, "a/b", dry_run=True),
    ):
        with pytest.raises(PublishError, match=r"\(modeling_theirs.py\).*--trust-remote-code"):
            door()
    assert not (tmp_path / "ran").exists()
    publish_run(run, "a/b", dry_run=True, trust_remote_code=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "args",
    [
        {"rule": "{file}:pay"},
        {"correctness": "{file}:pay"},
        {"rule": "exact:match", "rule_args": {"inner": ["{file}:pay"]}},
        {"rule": "os:system"},
    ],
)
def test_a_function_that_arguments_name_is_code(
    theirs: Path, tmp_path: Path, args: dict[str, Any]
) -> None:
    named = json.loads(json.dumps(args).replace("{file}", str(theirs / "evil.py")))
    data = {"rewards": [{"fn": "rule_then_judge:score", "args": named}]}
    with pytest.raises(ConsentError, match=r"rewards\.0\.args.*--yes|rewards\.0\.args.*yes=True"):
        consent.need("evaluating", data, tmp_path, yes=False)
    consent.need("evaluating", data, tmp_path, yes=True)
    consent.need("evaluating", data, tmp_path, yes=False)


@pytest.mark.parametrize(
    "args",
    [
        {"rule": "math_answer:correct", "template": "Question: {question}", "note": "see: this"},
        {"pattern": "a:b", "language": "en:US", "tags": ["x:y"]},
    ],
)
def test_other_texts_among_arguments_are_no_code(tmp_path: Path, args: dict[str, Any]) -> None:
    assert consent.code_of({"rewards": [{"fn": "regex:match", "args": args}]}, tmp_path) == []


def test_the_judge_of_a_rule_and_its_key_are_said(tmp_path: Path) -> None:
    judge = {"base_url": "http://a.example/v1", "model": "m", "judge": {"api_key_env": "HF_TOKEN"}}
    inner = {
        "rule": "judge:score",
        "rule_args": {"base_url": "http://b.example/v1", "api_key_env": "OTHER"},
    }
    listed = " ".join(
        code.says
        for code in consent.code_of(
            {"rewards": [{"fn": "rule_then_judge:score", "args": judge | inner}]}, tmp_path
        )
    )
    assert (
        "$HF_TOKEN, to http://a.example/v1" in listed and "$OTHER, to http://b.example/v1" in listed
    )


SETTINGS = {
    "length:cosine": ["correctness"],
    "judge:score": ["base_url", "model", "api_key_env", "template", "request"],
    "rubric:score": ["base_url", "model", "api_key_env", "template", "request"],
    "rule_then_judge:score": ["rule", "rule_args", "judge", "base_url", "model"],
    "reward_model:score": ["model", "revision", "trust_remote_code"],
}


@pytest.mark.parametrize(("name", "settings"), SETTINGS.items(), ids=SETTINGS.keys())
def test_no_column_of_the_data_says_what_code_runs_or_where_a_key_goes(
    name: str, settings: list[str]
) -> None:
    for setting in settings:
        columns = ["answer", "criteria", "max_length", *settings]
        others = {other: "x" for other in settings if other != setting}
        with pytest.raises(RewardError, match=f"setting '{setting}', which no column may fill"):
            Rewards([RewardSpec(name, args=others)]).check_columns(columns)
    Rewards([RewardSpec(name, args=dict.fromkeys(settings, "x"))]).check_columns(columns)


def test_rows_are_refused_before_a_reward_reads_them(theirs: Path, tmp_path: Path) -> None:
    rows = [{"question": "1+1", "answer": "2", "correctness": f"{theirs / 'evil.py'}:pay"}]
    loaded = recipe(
        tmp_path,
        task={"rows": rows, "prompt": "{question}"},
        rewards={"fn": "length:cosine", "args": {"max_length": 5}},
    )
    with pytest.raises(LLMPolicyError, match="setting 'correctness'"):
        explain_recipe(str(loaded))
    assert not (tmp_path / "ran").exists()
