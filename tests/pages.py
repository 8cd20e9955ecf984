"""Small runs to be looked at: what they wrote is known, for the test wrote it."""

from pathlib import Path
from typing import Any

from llmpolicy import Run
from llmpolicy.bundled import MODEL
from llmpolicy.run.answers import write_answers

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src='http://example.invalid/x.png' onerror='window.hacked = 1'>",
    '<a href="javascript:window.hacked=1">click</a> ![](http://example.invalid/y.png)',
    "<!-- <style>body { display: none }</style> <iframe src='//example.invalid'></iframe>",
    "abc\u202edcba\u2066 \u200b\x1b[31m\x07\ufeff\u00ad",
    "\U0001f600 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 {{constructor}} ${window.hacked=1} &lt;b&gt;",
)
"""Texts that would do something if they were taken for more than texts."""


def row(step: int, group: int, member: int, text: str, **more: Any) -> dict[str, Any]:
    """One completion of four in a group: the first and the second are right."""
    reward = float(member < 2)
    ids = [25 + member, 26, 2]
    return {
        "row": step * 100 + group,
        "prompt": f"{step}+{group}",
        "completion": text,
        "token_ids": ids,
        "log_probs": [-0.5, -0.01 * (member + 1), -3.0],
        "reward": reward,
        "reward/exact": reward,
        "reward/short": 1.0 - 0.1 * member,
        "parsed/exact": text[:10],
        "advantage": reward - 0.5,
        "terminated": True,
        "truncated": member == 3,
        "seconds": 0.0,
        "group": group,
        **more,
    }


def make_run(
    path: Path,
    texts: tuple[str, ...] = ("7", "7", "8", "9"),
    steps: int = 6,
    groups: int = 3,
    **more: Any,
) -> Run:
    """A run whose completions are these texts by turns."""
    facts: dict[str, Any] = {"command": f"llmpolicy train {texts[0]}", "weights": str(MODEL)}
    run = Run.create(path, {"name": texts[0], "seed": 0, "grpo": {"max_steps": steps}}, **facts)
    said = 0
    for step in range(1, steps + 1):
        rows = []
        for group in range(groups):
            for member in range(4):
                rows.append(row(step, group, member, texts[said % len(texts)], **more))
                said += 1
        run.write_rollouts(step, rows)
        figures = {"reward": 0.5, "grad_norm": 0.1 * step, "step_time": 1.0, "entropy": 1 / step}
        run.log(step, {**figures, "completions/mean_length": 3.0})
    run.log(steps, {"accuracy": 0.5}, mode="eval")
    base = {"prompt": texts[0], "completion": texts[-1], "greedy": False, "right": 0, "judged": 4}
    write_answers(path, [{**base, "greedy": True, "right": 3, "base": base}])
    call = {"fn": "exact:match", "base_dir": "."}
    fault = {"step": 1, "row": 1, "reward": "exact", "fault": "error", "why": texts[0]}
    run.log_faults([{**fault, "call": call}])
    run.finish("finished", steps=steps)
    return run
