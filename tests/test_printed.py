"""What rewards print goes to a file of the run, bounded and counted; and a reward of TRL's style
sees its trainer live.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmpolicy import evaluate_model, train
from llmpolicy.rewards import Rewards, RewardSpec, Sample, printed
from llmpolicy.rewards.printed import Printed
from llmpolicy.types import TrainerSnapshot
from tests import training

ROOT = Path(__file__).parent.parent


def prints(completion: str) -> float:
    import os
    import sys

    print(f"seen {completion}")
    print("aside", file=sys.stderr)
    os.write(1, b"below\n")
    os.system("echo a child")
    if completion == "dies":
        print("last words")
        os._exit(3)
    return 1.0


def test_what_rewards_print_goes_to_the_file_with_its_count(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rewards, said = Rewards([RewardSpec(prints, name="r")]), list[str]()
    with printed.printed.kept_in(tmp_path / "rewards.log", said.append):
        scored = rewards.score([Sample("c1"), Sample("dies"), Sample("c2")])
    assert [row.value for row in scored] == [1.0, None, 1.0]
    lines = (tmp_path / "rewards.log").read_text().splitlines()
    expected = (
        [f"seen {name}" for name in ("c1", "c2", "dies")]
        + ["aside", "below", "a child"] * 3
        + ["last words"]
    )
    assert sorted(lines) == sorted(expected)
    assert said == [f"the rewards printed {len(expected)} lines: {tmp_path / 'rewards.log'}"]
    assert capfd.readouterr() == ("", "")
    rewards.score([Sample("later")])
    assert (
        "seen later" in capfd.readouterr().err
        and "later" not in (tmp_path / "rewards.log").read_text()
    )


def test_a_flood_is_counted_and_not_kept_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def floods(completion: str) -> float:
        for _ in range(20_000):
            print("x" * 99)
        return 1.0

    monkeypatch.setattr(printed, "MOST_BYTES", 100_000)
    lines: list[str] = []
    with printed.printed.kept_in(tmp_path / "rewards.log", lines.append):
        assert (
            Rewards([RewardSpec(floods, name="r", timeout=30)]).score([Sample("a")])[0].value == 1.0
        )
    assert lines == [f"the rewards printed 20,000 lines: {tmp_path / 'rewards.log'}"]
    kept = (tmp_path / "rewards.log").read_bytes()
    assert 100_000 <= len(kept) < 101_000 and kept.endswith(b"(more was printed and is not kept)\n")


def test_nothing_is_said_of_silence_and_a_place_that_cannot_be_written_ends_nothing(
    tmp_path: Path,
) -> None:
    printed, lines = Printed(), list[str]()
    with printed.kept_in(tmp_path / "rewards.log", lines.append):
        pass
    assert lines == [] and not (tmp_path / "rewards.log").exists()
    with printed.kept_in(tmp_path / "nowhere" / "rewards.log", lines.append):
        printed.take(b"a\n")
    assert lines == [f"the rewards printed 1 line: {tmp_path / 'nowhere' / 'rewards.log'}"]


def test_a_reward_of_trls_style_sees_the_trainer_as_it_is(tmp_path: Path) -> None:
    seen: list[Any] = []

    def curriculum(completions: list[Any], trainer_state: Any, **_: Any) -> list[float]:
        seen.append(trainer_state)
        return [trainer_state.global_step / trainer_state.max_steps] * len(completions)

    trainer = training.trainer(
        tmp_path, training.policy(), reward=[RewardSpec(curriculum, style="trl")], max_steps=3
    )
    trainer.train()
    assert [state.global_step for state in seen] == [0, 1, 2]
    assert all(state.max_steps == 3 for state in seen)
    assert [len(state.log_history) for state in seen] == [0, 1, 2]
    assert seen[2].log_history[-1]["step"] == 2 and seen[2].epoch == pytest.approx(
        trainer.state.epoch * 2 / 3
    )
    assert [line["reward"] for line in trainer.state.log_history[:3]] == pytest.approx(
        [0.0, 1 / 3, 2 / 3]
    )


def test_it_crosses_to_a_worker_and_needs_neither_torch_nor_a_trainer_there() -> None:
    code = """
from llmpolicy.rewards import Rewards, RewardSpec, Sample
from llmpolicy.types import TrainerSnapshot
def heavy(prompts, completions, trainer_state, **_):
    import sys
    return [trainer_state.global_step + 0.5 * ("torch" in sys.modules)] * len(completions)
rewards = Rewards([RewardSpec(heavy, style="trl")])
rewards.trainer_state = TrainerSnapshot(7, 10)
print(rewards.score([Sample("a")])[0].value, Rewards([RewardSpec(heavy, style="trl")]).score([Sample("a", step=4)])[0].value)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**os.environ}
    )
    assert done.stdout == "7.0 4.0\n", done.stderr


def test_a_snapshot_has_the_names_of_the_trainers_own_state() -> None:
    from transformers import TrainerState

    state = TrainerState(global_step=3, max_steps=9, epoch=0.5, num_train_epochs=2)
    state.log_history = [{"step": step} for step in range(50)]
    snapshot = TrainerSnapshot.of(state)
    for name in TrainerSnapshot.__dataclass_fields__:
        if name != "log_history":
            assert getattr(snapshot, name) == getattr(state, name)
    assert list(snapshot.log_history) == state.log_history[-20:]


def test_an_evaluation_of_a_run_keeps_them_with_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "def right(completion, answer):\n    print('asked')\n    return float(completion.strip() =="
        " answer)\n"
    )
    right, rows = (
        f"{tmp_path / 'mine.py'}:right",
        [{"question": f"{a}+{a}", "answer": str(2 * a)} for a in range(40)],
    )
    grpo = {
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 3,
    }
    evaluate = {"correct": right, "n": 4, "samples": 1}
    run = train(
        model="bundled",
        task=rows,
        rewards=right,
        evaluate=evaluate,
        grpo=grpo,
        out=tmp_path / "run",
    )
    before, lines = (run.path / "rewards.log").read_text().count("asked"), list[str]()
    capfd.readouterr()
    evaluate_model(str(run.path), None, [], lines.append)
    assert (run.path / "rewards.log").read_text().count("asked") > before
    assert "asked" not in "".join(capfd.readouterr()) and any(
        line.startswith("the rewards printed") for line in lines
    )
