"""Where an environment failed, written down in a run, and the command that asks it again."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from llmpolicy.run.directory import Run

_LOG = logging.getLogger("llmpolicy")


def keep_faults(run: Run, faults: Sequence[Mapping[str, Any]], seen: dict[str, str]) -> None:
    """Append to faults.jsonl, and say of each kind of failure, once, how it is made again; ``seen``
    are the kinds that were said.
    """
    if not faults:
        return
    for fault, line in zip(faults, run.log_faults(faults), strict=True):
        kind = f"{fault['at']['what']} {fault['at']['fault']}"
        if kind not in seen:
            seen[kind] = replay_dialogue_command(line)
            _LOG.warning(
                "a dialogue was not judged: %s. Ask again with: %s", fault["why"], seen[kind]
            )


def replay_dialogue_command(line: str) -> str:
    """The command that asks an environment again what it failed at; ``line`` is FILE:LINE."""
    return f"llmpolicy play --replay {shlex.quote(line)}"
