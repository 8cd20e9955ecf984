"""What a user sees: the progress line and its notes, tables at 80 columns, a run in a notebook,
what the package lists.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerState

import llmpolicy
from llmpolicy.audit.check import check_reward
from llmpolicy.audit.show import told
from llmpolicy.evaluation import table
from llmpolicy.evaluation.measure import ks
from llmpolicy.evaluation.record import Evaluation
from llmpolicy.grpo.progress import SILENT_STEPS, Progress, loss_note, progress_line
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.folding import folded
from llmpolicy.report.plot import plot_run
from llmpolicy.run import Run
from llmpolicy.session.evaluate import explain_recipe
from llmpolicy.stages import process
from llmpolicy.stages.grpo import EVENTS, events_in
from llmpolicy.stages.process import end_stopped
from llmpolicy.statistics import paired_interval, wilson
from llmpolicy.terminal import COMMAND, visible, wrapped
from tests import models, training


def nothing(completion: str) -> float:
    return 0.0


# Progress


def test_that_nothing_is_learned_is_said_once_with_two_completions_and_what_to_try(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    progress = Progress(said.append, seconds=0.0)
    steps = SILENT_STEPS + 3
    trainer = training.trainer(
        tmp_path,
        training.policy(),
        reward=nothing,
        options={"callbacks": [progress]},
        max_steps=steps,
        logging_steps=1,
    )
    progress.episodes = lambda: trainer.generation.episodes
    trainer.train()
    notes = [line for line in said if "note:" in line]
    assert len([line for line in said if line.startswith("step ")]) == steps
    assert len(notes) == 2 and "from this step" in notes[0]
    assert f"nothing was learned for {SILENT_STEPS} steps" in notes[1]
    shown = [line for line in notes[1].splitlines() if line.startswith("    completion: ")]
    assert len(shown) == 2
    for way in (
        "few_shot",
        "prefill",
        "supervised",
        "easier reward",
        "max_completion_length",
        "easier questions",
    ):
        assert way in notes[1], way


def test_a_signal_in_between_starts_the_count_anew() -> None:
    said: list[str] = []
    progress = Progress(said.append)
    state = TrainerState(global_step=1, max_steps=100, is_world_process_zero=True)
    args: Any = SimpleNamespace()
    for live in [0.0] * (SILENT_STEPS - 1) + [0.5] + [0.0] * (SILENT_STEPS - 1):
        progress.on_log(
            args, state, None, logs={"reward": 0.0, "loss": 1.0, "advantages/live": live}
        )  # type: ignore[arg-type]
    assert not [line for line in said if "nothing was learned for" in line]


def test_the_note_on_the_loss_knows_updates_a_generation_and_kl() -> None:
    def of(**settings: Any) -> str:
        return loss_note(
            SimpleNamespace(
                **{"gradient_accumulation_steps": 2, "num_iterations": 1, "beta": 0.0, **settings}
            )
        )

    assert "with one update a generation the ratio is 1" in of() and "KL" not in of()
    assert "with one update" in of(steps_per_generation=2)
    for several in ({"num_iterations": 2}, {"steps_per_generation": 4}):
        assert "at a generation's first update" in of(**several) and "with one update" not in of(
            **several
        )
    assert "beta x KL, 0.05 times a distance" in of(beta=0.05)


def test_kl_and_entropy_are_in_the_line_where_they_exist() -> None:
    assert "  KL 0.0123  entropy 1.5  " in progress_line(
        1, 2, {"kl": 0.01234, "entropy": 1.5, "reward": 1.0}, 0
    )
    assert "KL" not in progress_line(1, 2, {"reward": 1.0, "entropy": float("nan")}, 0)
    assert "entropy" not in progress_line(1, 2, {"reward": 1.0, "entropy": float("nan")}, 0)


# 80 columns


@pytest.mark.parametrize("width", [40, 80])
def test_nothing_is_broken_inside_a_word(width: int) -> None:
    text = str(explain_recipe("quickstart", ["grpo.use_vllm=true", "grpo.num_iterations=3"]))
    lines = wrapped(text, width).splitlines()
    assert [word for line in lines for word in line.split()] == text.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)
    command = f"{COMMAND}llmpolicy train {'x' * 90} --out y --resume"
    assert wrapped(command, width) == command and wrapped(text, 0) == text
    error = f"error: {'several words ' * 9}with: llmpolicy check-reward {'x' * 90} --replay y z"
    assert (
        wrapped(error, width).splitlines()[-1]
        == f"  llmpolicy check-reward {'x' * 90} --replay y z"
    )


def test_the_table_of_an_evaluation_fits_80_columns_with_all_its_figures() -> None:
    base = evaluation(None)
    both = evaluation(base)
    narrow, wide = table(both, 80), table(both, 120)
    assert max(map(len, narrow.splitlines())) <= 80 < max(map(len, wide.splitlines()))
    figures = {word for word in wide.split() if word[0].isdigit() or word[0] in "+-["}
    assert figures <= set(narrow.split())


def evaluation(base: Evaluation | None) -> Evaluation:
    right = wilson(500, 500)
    moved = paired_interval([True] * 250 + [False] * 250) if base else None
    return Evaluation(
        n=500, seed=0, recipe_hash="", decoding={"samples": 8, "temperature": 1.0}, accuracy=right,
        pass_at_k={"1": 1.0, "8": 1.0}, truncated=1.0, mean_length=1234.5, kl_to_base=0.00123, best_constant=None, base=base,
        paired_difference=moved, sampled_accuracy=right, paired_difference_sampled=moved, kl_to_base_per_completion=1.0,
        best_constant_answer=None, mean_reward=0.123, parts={"a": 0.1, "b": 0.2}, unjudged={"greedy": 500, "sampled": 4000},
        examples=(), questions=(),
    )  # fmt: skip


def test_pass_at_k_is_for_each_k_that_the_samples_allow() -> None:
    assert [ks(samples) for samples in (1, 2, 3, 8, 12)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4, 8],
        [1, 2, 4, 8, 12],
    ]


# A run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "one", {"name": "one", "grpo": {"max_steps": 4}})
    for step in (1, 2):
        run.log(
            step, {"reward": 0.25 * step, "advantages/live": 1.0, "entropy": 1.0, "kl": 0.01 * step}
        )
    return run


def test_a_run_says_in_one_line_and_in_a_notebook_what_became_of_it(run: Run) -> None:
    assert repr(run) == f"Run({str(run.path)!r}: status running, step 2 of 4, reward 0.25 -> 0.5)"
    before, after = (
        {"accuracy": {"value": value, "low": 0.4, "high": 0.9}} for value in (0.5, 0.75)
    )
    run.write_evaluation({**after, "base": before})
    run.finish("<stopped>")
    page = run._repr_html_()
    assert "50.0% -&gt; 75.0%" in page and "&lt;stopped&gt;" in page and "<img" not in page
    plot_run(run)
    picture = run._repr_html_().partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(picture) == run.plot_path.read_bytes()


def test_a_run_of_functions_of_a_session_goes_on_by_a_call(tmp_path: Path) -> None:
    for rewards in ([{"fn": "__main__:right"}], [{"fn": "mine:make.<locals>.right"}]):
        run = Run.create(tmp_path / rewards[0]["fn"], {"name": "one", "rewards": rewards})
        assert (
            process.go_on(run)
            == f"{COMMAND}train(...), with the same arguments, out={str(run.path)!r} and"
            " resume=True"
        )
    run = Run.create(tmp_path / "file", {"name": "one", "rewards": [{"fn": "mine.py:right"}]})
    assert process.go_on(run).startswith(f"{COMMAND}llmpolicy train ")


def test_what_a_terminal_would_not_show_is_spelled_out_and_the_rest_stays() -> None:
    assert visible("\\boxed{43}\n你好\x1b[2J\ud800") == "\\boxed{43}\\n你好\\x1b[2J\\ud800"


def test_a_stopped_run_has_a_plot_and_the_command_that_goes_on(run: Run) -> None:
    said: list[str] = []
    with pytest.raises(SystemExit):
        end_stopped(run, 2, SimpleNamespace(signal=2, reason="Ctrl-C"), said.append)  # type: ignore[arg-type]
    assert run.plot_path.read_bytes()[:4] == b"\x89PNG"
    assert f"plot: {run.plot_path}" in said and said[-1].startswith(f"{COMMAND}llmpolicy train ")


def test_the_whole_config_is_kept_and_its_tokens_are_not(run: Run, tmp_path: Path) -> None:
    config = training.config(
        tmp_path, hub_token="hf_abcdefghijklmnop", run_name="sk-abcdefghijklmnop"
    )
    run.write_config(config.to_dict())
    text = (run.path / "grpo_config.json").read_text()
    kept = json.loads(text)
    assert (
        kept["epsilon"] == config.epsilon
        and kept["per_device_train_batch_size"] == 8
        and kept["num_generations"] == 4
    )
    assert set(config.to_dict()) <= kept.keys()
    assert "abcdefghijklmnop" not in text


def test_event_files_go_into_the_run_unless_another_folder_is_named(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv(EVENTS, raising=False)
    with events_in(tmp_path / "tensorboard"):
        assert os.environ[EVENTS] == str(tmp_path / "tensorboard")
    assert EVENTS not in os.environ
    monkeypatch.setenv(EVENTS, "/mine")
    with events_in(tmp_path / "tensorboard"):
        assert os.environ[EVENTS] == "/mine"
    assert os.environ[EVENTS] == "/mine"


def test_the_package_lists_what_there_is_and_loads_it_when_asked() -> None:
    code = (
        "import sys, llmpolicy; names = dir(llmpolicy); rewards = llmpolicy.rewards; print('torch'"
        " in sys.modules, {'train', 'Run', 'CausalLMPolicy', 'rewards', 'tasks'} <= set(names),"
        " rewards.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False True llmpolicy.rewards", done.stderr
    assert all(hasattr(llmpolicy, name) for name in dir(llmpolicy))
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = llmpolicy.nowhere


# A reward that declares nothing


def plain(completion: str, answer: str) -> float:
    return float(completion.strip() == answer)


def boxed(completion: str, answer: str) -> float:
    return float(completion == f"\\boxed{{{answer}}}")


def by_another_name(completion: str, solution: str) -> float:
    return float(completion.strip() == solution)


def always(completion: str, solution: str) -> float:
    return 1.0


def shape(completion: str) -> float:
    return float(len(completion) > 3)


@pytest.mark.parametrize(
    ("reward", "column", "shown"),
    [(plain, "answer", "'Rue' scored 1"),
     (boxed, "answer", "boxed{Rue}' scored 1"), (by_another_name, "solution", "'Rue' scored 1"),
     (shape, "answer", "'7' scored 0")],
)  # fmt: skip
def test_the_gold_answers_are_tried_on_a_reward_that_declares_nothing_and_shown(
    reward: Any, column: str, shown: str
) -> None:
    rows = [{"question": "a", column: "Rue"}, {"question": "b", column: "7"}]
    report = check_reward(reward, rows=rows, parts=("contract",))
    assert any(shown in line for line in told(report))
    assert report.golds == (0 if reward is shape else 2) and not report.errors


def test_a_wrong_gold_answer_is_no_silence() -> None:
    rows = [{"solution": "1"}, {"solution": "2"}]
    assert any(
        "gold answer of row 1, scored 1.0" in said
        for said in check_reward(always, rows=rows, parts=("contract",)).errors
    )
    report = check_reward(
        lambda completion, answer: 0.0, rows=[{"answer": "1"}], parts=("contract",)
    )
    assert report.errors == ["row 0: the gold answer '1' itself scored 0.0"]


# The libraries' own words


def test_what_libraries_say_of_their_own_future_does_not_reach_the_terminal(tmp_path: Path) -> None:
    command = [
        "train",
        "quickstart",
        "grpo.max_steps=1",
        "grpo.per_device_train_batch_size=8",
        "grpo.gradient_checkpointing=true",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "llmpolicy", *command, "evaluate=null", "--out", str(tmp_path / "run")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert "%|" not in done.stdout and (tmp_path / "run/grpo_config.json").is_file()


def test_merged_weights_are_in_the_dtype_of_the_base(tmp_path: Path) -> None:
    words = models.tokenizer()
    small: Any = models.model()
    small.to(torch.bfloat16).save_pretrained(tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    policy = CausalLMPolicy.load(
        tmp_path / "base", lora={"r": 2, "init_lora_weights": False}, device="cpu"
    )
    assert policy.model.dtype == torch.float32
    exact = {
        key: value.to(torch.bfloat16) for key, value in folded(policy.model).state_dict().items()
    }
    policy.merge().save(tmp_path / "merged")
    saved = load_file(tmp_path / "merged" / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    assert all(torch.equal(value, exact[key]) for key, value in saved.items())
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    again = CausalLMPolicy.load(tmp_path / "merged", device="cpu")
    states, actions = [[5, 6, 7]], [[8, 9]]
    near, of = again.log_prob(states, actions)[0], policy.log_prob(states, actions)[0]
    assert (near - of).abs().max() < 0.2


# A page that answers a question


def test_the_page_on_runs_finds_the_prompts_that_were_never_solved(run: Run) -> None:
    rewards = {"never": (0.0, None), "once": (0.0, 1.0), "always": (1.0, 1.0)}
    for step in (0, 1):
        rows = [{"prompt": prompt, "reward": of[step]} for prompt, of in rewards.items()]
        run.write_rollouts(step + 1, rows)
    page = (Path(__file__).parent.parent / "docs" / "runs.md").read_text()
    block = page.partition("never solved?")[2].partition("```python")[2].partition("```")[0]
    code = block.replace("runs/quickstart", str(run.path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1 of 3 prompts were never solved: ['never']\n"
