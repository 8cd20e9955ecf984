"""The doctor: each check finds what it is for, and is silent beside it."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmpolicy import Run
from llmpolicy.diagnosis import Completion, Evidence, diagnose, evidence_at
from llmpolicy.errors import RunError
from llmpolicy.report.groups import groups
from llmpolicy.report.unsolved import unsolved
from llmpolicy.session import train_recipe

STEPS = 24
PROMPTS = 10
SIZE = 4

Change = Callable[[int, int, int, Completion], Completion]


def healthy(step: int, prompt: int, member: int) -> Completion:
    """One of four completions of a prompt: as many are right as the run has gone far."""
    right = member < 1 + 3 * step // STEPS
    text = f"{prompt * 7}" if right else f"{prompt * 7 + member}"
    reward = float(right)
    return Completion(
        place=f"{step}:{prompt * SIZE + member}",
        step=step,
        group=prompt,
        row=step * PROMPTS + prompt,
        prompt=f"{step}: what is {prompt} times 7?",
        text=text,
        reward=reward,
        parts={"right": reward, "short": 1.0 - 0.01 * member},
        advantage=reward - 0.5,
        truncated=False,
    )


def line(step: int, **figures: Any) -> dict[str, Any]:
    """The figures of one step of a healthy run."""
    sound = {
        "reward": 0.25 + 0.7 * step / STEPS,
        "reward_std": 0.4,
        "grad_norm": 0.3,
        "loss": 0.0,
        "entropy": 1.0 - 0.5 * step / STEPS,
        "kl": 0.01,
        "advantages/live": 1.0,
        "sampler/parity": 1e-6,
        "completions/clipped_ratio": 0.0,
        "completions/mean_length": 20.0,
        "terms/right/variance_share": 0.8,
        "terms/short/variance_share": 0.2,
        "parts/right/length_correlation": 0.1,
    }
    return {"step": step, **sound, **figures}


def run(
    change: Change | None = None,
    figures: Callable[[int], dict[str, Any]] = lambda step: {},
    **rest: Any,
) -> Evidence:
    """A healthy run, with changes to its completions and to the figures of its steps."""
    completions = []
    for step in range(1, STEPS + 1):
        for prompt in range(PROMPTS):
            for member in range(SIZE):
                one = healthy(step, prompt, member)
                completions.append(change(step, prompt, member, one) if change else one)
    evaluation = {"n": 200, "kl_to_base_per_completion": 1.0}
    return Evidence(
        [line(step, **figures(step)) for step in range(1, STEPS + 1)],
        completions,
        **{"evaluation": evaluation, **rest},
    )


def kinds(evidence: Evidence) -> list[str]:
    return [finding.kind for finding in diagnose(evidence).findings]


def paid(reward: float | None) -> Change:
    return lambda step, prompt, member, one: replace(one, reward=reward)


def test_nothing_is_found_in_a_healthy_run() -> None:
    found = diagnose(run())
    assert found.findings == [] and found.verdict == "nothing was found wrong with this run"


BROKEN: Sequence[tuple[str, Evidence]] = [
    ("all_wrong", run(lambda s, p, m, o: replace(o, reward=1.0 if (s, p, m) == (1, 0, 0) else 0.0))),
    ("all_right", run(lambda s, p, m, o: replace(o, reward=0.0 if (s, p, m) == (1, 0, 0) else 1.0))),
    ("unjudged", run(paid(None))),
    ("no_exploration", run(lambda s, p, m, o: replace(o, text=str(p), reward=0.4) if s > 12 else o)),
    ("constant_part", run(lambda s, p, m, o: replace(o, parts={**o.parts, "short": 0.5}))),
    (
        "ruling_part",
        run(None, lambda s: {"terms/right/variance_share": 0.01, "terms/short/variance_share": 0.99}),
    ),
    ("constant_answer", run(lambda s, p, m, o: replace(o, text="7", reward=float(p == m == 1)))),
    ("paid_constant", run(lambda s, p, m, o: replace(o, text="\\boxed{}"))),
    ("noisy_reward", run(lambda s, p, m, o: replace(o, text="7" * p, reward=float(m % 2)))),
    (
        "chance_rewards",
        run(
            lambda s, p, m, o: replace(
                o, text=(text := f"{m < (s * 7 + p * p) % 5}"), reward=float((s % 3 == 1) == (text == "True"))
            )
        ),
    ),
    ("non_finite", run(None, lambda s: {"grad_norm": math.nan} if s == 7 else {})),
    ("frozen", run(None, lambda s: {"grad_norm": 0.0})),
    ("no_effect", run(evaluation={"kl_to_base_per_completion": 1e-5})),
    ("broke_at_once", run(None, lambda s: {"reward": 0.5 if s == 1 else 0.1})),
    (
        "gradient_break",
        run(None, lambda s: {"grad_norm": 30.0} if s == 12 else {"reward": 0.8 - 0.6 * (s > 12)}),
    ),
    ("kl_break", run(None, lambda s: {"kl": 0.01 if s < 20 else 3.0})),
    (
        "entropy_collapse",
        run(None, lambda s: {"entropy": 1.0 if s < 4 else 0.01, "reward": 0.3}),
    ),
    ("sampler_mismatch", run(None, lambda s: {"sampler/parity": 0.3})),
    ("cut_off", run(lambda s, p, m, o: replace(o, truncated=m > 0), lambda s: {
        "completions/clipped_ratio": 0.75})),
    ("never_ends", run(lambda s, p, m, o: replace(o, truncated=True), lambda s: {
        "completions/clipped_ratio": 1.0})),
    ("length_drift", run(None, lambda s: {
        "completions/mean_length": 10.0 + 2 * s, "reward": 0.5})),
    ("length_hacking", run(None, lambda s: {
        "completions/mean_length": 10.0 + 2 * s, "parts/right/length_correlation": 0.9})),
    ("length_hacking", run(None, lambda s: {
        "completions/mean_length": 50.0 - 1.5 * s, "parts/right/length_correlation": -0.9})),
    ("biased_sampler", run(settings={"temperature": 1.0, "top_p": 0.9})),
    ("biased_sampler", run(settings={"generation_kwargs": {"temperature": 0.7}})),
    ("overlap", run(held_out=["3: What is 4 times  7", "4: what is 5 times 7?", "other"])),
    ("kl_break", run(None, lambda s: {"kl": 2.0})),
    ("no_effect", run(None, lambda s: {"learning_rate": 1e-9})),
    ("tool_never_called", run(None, lambda s: {"tools/call_frequency": 0.0})),
    ("all_right", run(paid(1.0))),
    ("all_wrong", run(paid(-1.0))),
    ("duplicated_prompts", run(lambda s, p, m, o: replace(o, prompt=f"what is {p}?"))),
    (
        "unjudged_by_difficulty",
        run(lambda s, p, m, o: replace(o, prompt=f"{p}", reward=(
            float(m == 0) if m < 2 else None) if p < 5 else 1.0)),
    ),
    ("unjudged", run(lambda s, p, m, o: replace(o, reward=None) if m == 3 else o)),
    ("environment_failures", run(lambda s, p, m, o: replace(
        o, ended="failed" if p == 0 else "done", why="it raised", reward=None if p == 0 else o.reward))),
    ("tool_never_called", run(recipe={"environment": {"tools": ["calculator"]}})),
    (
        "truth_falls",  # from the very start: the best accuracy is that before training
        run(
            looks=[{"step": step, "accuracy": 0.1} for step in (8, 16, 24)],
            evaluation={"n": 200, "base": {"accuracy": {"value": 0.4}}},
        ),
    ),
    (
        "truth_falls",
        run(looks=[{"step": s, "accuracy": 0.8 if s < 12 else 0.5} for s in range(0, 25, 4)]),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "evidence"), BROKEN, ids=[f"{n}-{k[0]}" for n, k in enumerate(BROKEN)]
)
def test_each_kind_is_found(kind: str, evidence: Evidence) -> None:
    found = {finding.kind: finding for finding in diagnose(evidence).findings}
    assert kind in found
    finding = found[kind]
    assert 0 < finding.confidence <= 1 and finding.remedy and finding.evidence
    places = {one.place for one in evidence.completions}
    assert set(finding.rollouts) <= places


def test_the_diagnosis_is_plain_data_and_lines() -> None:
    found = diagnose(run(None, lambda s: {"grad_norm": 0.0}))
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["schema"] == 1 and plain["findings"][0]["kind"] == "frozen"
    assert set(plain["findings"][0]) == {
        "kind", "says", "remedy", "confidence", "evidence", "rollouts",
    }  # fmt: skip
    assert "1 thing found: frozen" in str(found) and "change: look at which weights" in str(found)


def test_what_is_right_beside_it_is_not_blamed() -> None:
    sound = [
        run(lambda s, p, m, o: replace(o, text="0", reward=1.0) if p < 6 else o),  # often right
        run(settings={"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": None}),
        run(held_out=["3: what is 4 times 8?", "3: what is 4+7?"]),
        run(None, lambda s: {"kl": 0.01 if s != 20 else 50.0}),  # one unlikely token
        run(None, lambda s: {"learning_rate": s * 1e-8}),  # it warms up
        run(None, lambda s: {"reward": 0.7 if s == 1 else 0.3 + 0.3 * (s % 4 == 0)}),
    ]
    assert [kinds(each) for each in sound] == [[]] * len(sound)


def test_figures_that_were_logged_now_and_then_are_said_to_hide() -> None:
    every = [line(step, grad_norm=9.0 if step == 120 else 0.3) for step in range(10, 400, 10)]
    found = diagnose(Evidence(every, []))
    hidden = {each.kind for each in found.not_checked if "logged every 10 steps" in each.why}
    assert hidden == {"gradient_break", "broke_at_once", "kl_break", "non_finite"}
    assert not hidden & {finding.kind for finding in found.findings}


def test_a_few_groups_without_a_signal_say_nothing() -> None:
    few = run(lambda s, p, m, o: replace(o, reward=0.0) if p < 9 else o)
    assert "all_wrong" in kinds(few)
    assert "all_wrong" not in kinds(few.until(3))


def test_the_beginning_of_a_run() -> None:
    part = run(looks=[{"step": 4}, {"step": 8}]).until(6)
    assert part.last_step == 6 and len(part.steps) == 6 and part.looks == [{"step": 4}]
    assert part.evaluation is None and run().until(24).evaluation is not None


def test_a_run_that_becomes_right_is_not_blamed_for_it() -> None:
    solved = run(lambda s, p, m, o: healthy(STEPS, p, 0) if s > 15 else o)
    assert kinds(solved) == []


def test_what_cannot_be_told_says_so() -> None:
    bare = Evidence([{"step": step, "reward": 0.5} for step in range(4)], [])
    found = diagnose(bare)
    assert found.findings == []
    unseen = {each.kind for each in found.not_checked}
    assert {"no_signal", "kl_break", "frozen", "constant_part", "same_answer"} <= unseen


def test_groups_for_a_terminal() -> None:
    lines = groups(run(), step=3, limit=2).splitlines()
    assert lines[0].startswith("step 3, group ") and "4 completions, mean reward 0.25" in lines[0]
    assert lines[1].startswith("prompt: 3: what is ")
    assert lines[2].split() == ["advantage", "reward", "right", "short"]
    assert lines[3].split()[:4] == ["+0.50", "1.00", "1.00", "1.00"]
    assert lines[-1] == "8 more; --all shows them"
    assert all(len(line) <= 80 for line in lines)
    of_row = groups(run(), row=31)
    assert of_row.count("step 3, group 1, row 31") == 1
    with pytest.raises(RunError, match="no completions of step 99; it has steps 1 to 24"):
        groups(run(), step=99)


def test_prompts_that_were_never_solved() -> None:
    never = run(
        lambda s, p, m, o: replace(o, prompt=f"{p}?", row=p, reward=float(p < 8 and m == 0))
    )
    text = unsolved(never)
    assert text.startswith("2 of 10 prompts were never paid 1, the most there was")
    assert "row 8, 96 completions, mean reward 0.00, best 0.00\n  8?" in text


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run: expected manifest.json"):
        evidence_at(tmp_path)
    Run.create(tmp_path / "run", {"name": "x"}).finish("completed")
    with pytest.raises(RunError, match="nothing can be said of it"):
        evidence_at(tmp_path / "run")


def test_the_output_of_stock_trl(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    history = [{"step": s, "reward": 0.0, "rewards/right/mean": 0.0, "grad_norm": 0.0,
                "frac_reward_zero_std": 0.5} for s in range(1, 9)]  # fmt: skip
    (tmp_path / "checkpoint-8").mkdir()
    (tmp_path / "checkpoint-8/trainer_state.json").write_text(json.dumps({"log_history": history}))
    (tmp_path / "completions").mkdir()
    rows = [
        {
            "step": step,
            "prompt": [{"role": "user", "content": f"what is {prompt}?"}],
            "completion": [{"role": "assistant", "content": "7"}],
            "right": 0.0,
            "advantage": 0.0,
        }
        for step in range(1, 9)
        for prompt in range(8)
        for _ in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "completions/completions_00008.parquet")
    found = evidence_at(tmp_path)
    assert len(found.groups) == 64 and found.groups[0][0].prompt == "what is 0?"
    assert {"no_exploration", "constant_answer", "frozen"} <= set(kinds(found))


@pytest.mark.slow
def test_runs_that_were_broken_on_purpose(tmp_path: Path) -> None:
    few = ["grpo.max_steps=20", "evaluate.n=20", "grpo.per_device_train_batch_size=128"]
    broken = {
        "broke_at_once": ["grpo.learning_rate=0.03"],
        "cut_off": ["grpo.max_completion_length=1"],
        "no_effect": ["grpo.learning_rate=1e-12"],
    }
    for kind, changes in broken.items():
        made = train_recipe("quickstart", [*few, *changes], out=tmp_path / kind, say=lambda _: None)
        found = kinds(evidence_at(made.path))
        assert kind in found or (kind == "cut_off" and "never_ends" in found)
    sound = train_recipe("quickstart", few, out=tmp_path / "sound", say=lambda _: None)
    assert kinds(evidence_at(sound.path)) == []


def test_a_sound_run_in_16_bits_is_not_blamed_for_its_rounding() -> None:
    assert kinds(run(None, lambda s: {"sampler/parity": 0.08})) == []
    mean = {"sampling/sampling_logp_difference/mean": 0.08}
    stock = run()
    steps = [
        {name: value for name, value in each.items() if name != "sampler/parity"} | mean
        for each in stock.steps
    ]
    assert kinds(replace(stock, steps=steps)) == ["sampler_mismatch"]


def test_an_environment_that_is_no_mapping_is_nothing_to_find() -> None:
    assert kinds(run(recipe={"environment": "x"})) == []


def test_what_was_not_judged_is_said_once() -> None:
    assert kinds(run(lambda s, p, m, o: replace(o, reward=None))).count("unjudged") == 1


def test_where_nothing_was_paid_every_prompt_is_unsolved() -> None:
    nothing = run(lambda s, p, m, o: replace(o, prompt=f"{p}?", row=p, reward=0.0))
    assert unsolved(nothing).startswith("none of 10 prompts was ever paid more than 0\nrow 0, ")
    unjudged = run(
        lambda s, p, m, o: replace(o, prompt=f"{p}?", row=p, reward=None if p else -1.0 - (m > 0))
    )
    assert unsolved(unjudged).startswith("9 of 10 prompts were never paid -1, the most there was")
    with pytest.raises(RunError, match="kept no completions"):
        unsolved(replace(nothing, completions=[]))


def rows(**changes: Any) -> list[dict[str, Any]]:
    plain = {"row": 1, "prompt": "1?", "completion": "7", "token_ids": [1], "advantage": 0.1}
    return [{**plain, "reward": float(n % 2), "group": 0} | changes for n in range(4)]


def test_rewards_that_are_no_numbers_are_unknown(tmp_path: Path) -> None:
    made = Run.create(tmp_path, {"name": "x"})
    made.write_rollouts(1, rows(reward=math.nan))
    made.write_rollouts(2, rows(reward=math.inf, advantage=-math.inf))
    made.write_rollouts(3, rows(reward="7", group=None))
    found = evidence_at(tmp_path)
    assert len(found.completions) == 12 and {one.reward for one in found.completions} == {None}
    assert found.completions[4].advantage is None and len(found.groups) == 6
    assert "not judged" in groups(found, step=2)


def test_files_that_are_no_rollouts_are_left_out(tmp_path: Path) -> None:
    made = Run.create(tmp_path, {"name": "x"})
    made.write_rollouts(1, rows())
    made.write_rollouts(2, rows())
    damaged = made.rollout_files()[-1]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    (tmp_path / "rollouts/train-backup.parquet").write_text("x")
    (tmp_path / "grpo_config.json").write_text("[1]")
    found = evidence_at(tmp_path)
    assert len(found.completions) == 4 and found.settings == {}
    made.write_rollouts(3, rows(token_ids="none"))  # which are not read
    assert len(evidence_at(tmp_path).completions) == 8


@pytest.mark.parametrize(
    "history", [None, {"a": 1}, [1, None, "reward"], [{"step": None, "reward": 1}]]
)
def test_a_state_without_steps_is_a_sentence(tmp_path: Path, history: Any) -> None:
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    with pytest.raises(RunError, match="is no run"):
        evidence_at(tmp_path)


def test_tables_of_stock_trl_without_a_state_or_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "completions").mkdir()
    file = tmp_path / "completions/completions_00001.parquet"
    table = [
        {"step": 1, "prompt": f"{n // 4}?", "completion": 7, "advantage": 0.1,
         "right": math.nan if n % 4 == 0 else 1.0, "short": math.inf if n % 4 == 0 else 0.5}
        for n in range(32)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), file)
    found = evidence_at(tmp_path).completions
    assert [one.reward for one in found[:4]] == [None, 1.5, 1.5, 1.5] and found[0].text == "7"
    pq.write_table(pa.Table.from_pylist(table).drop_columns(["step"]), file)
    with pytest.raises(RunError, match="is no run"):
        evidence_at(tmp_path)
