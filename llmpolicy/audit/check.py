"""Checking a reward without a model: its examples, the task's gold answers, the attack battery,
determinism and time.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpolicy.audit.attacks import MIN_CONTROLS, NOTHING, check_battery
from llmpolicy.audit.battery import ATTACKS, Attack
from llmpolicy.audit.determinism import check_determinism, check_groups
from llmpolicy.audit.golds import check_examples, check_golds
from llmpolicy.audit.subject import Hole, Report, Subject
from llmpolicy.rewards.contract import Style

__all__ = ["MIN_CONTROLS", "NOTHING", "PARTS", "Hole", "Report", "check_reward"]

PARTS = ("contract", "battery")
"""What is checked: the examples and gold answers, and the attacks with the controls; determinism
over what either asks.
"""


def check_reward(
    reference: str | Any,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    args: Mapping[str, Any] | None = None,
    attacks: Iterable[Attack] = ATTACKS,
    base_dir: Path | None = None,
    parts: Sequence[str] = PARTS,
    style: Style | None = None,
) -> Report:
    """Check a reward function or reference against its contract, these rows of its task, and the
    battery.

    ``style`` is what a recipe would say, single or group by the contract. RewardError when the
    reward cannot be found or called at all. Programs that reach for resources (family F) are not
    run.
    """
    subject = Subject(reference, args or {}, base_dir, style)
    if "contract" in parts:
        check_examples(subject)
        check_golds(subject, rows)
    if "battery" in parts:
        run = [attack for attack in attacks if attack.family != "F"]
        check_battery(subject, run, rows[0] if rows else {})
    check_groups(subject)
    check_determinism(subject)
    return subject.finished()
