"""What trackers are told besides the figures of a step, which TRL tells them (`report_to`): the
looks at held-out prompts, and, with trackio, a few groups as traces and findings as alerts.
"""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.diagnosis.finding import Finding
from llmpolicy.episode import Episode
from llmpolicy.errors import one_line
from llmpolicy.terminal import Say

GROUPS, MEMBERS, STEPS = 2, 8, 64
"""Of how many groups of a step, and completions of each, there are traces; and, within one, of how
many steps of a longer run, evenly apart: each takes some 5 kB.
"""

SURE = 0.9
"""The confidence from which on a finding is an error, and not a warning."""


def trackers_of(trainer: Any) -> list[Any]:
    """The callbacks of transformers' integrations that a trainer reports to."""
    module = "transformers.integrations.integration_utils"
    callbacks = trainer.callback_handler.callbacks
    return [callback for callback in callbacks if type(callback).__module__ == module]


def tell_trackers(trainer: Any, figures: Mapping[str, Any]) -> None:
    """Report the figures of a look at held-out prompts, as ``eval``; only numbers are told."""
    numbers = {
        f"eval_{name}": value for name, value in figures.items() if isinstance(value, int | float)
    }
    for tracker in trackers_of(trainer):
        how = {"model": trainer.model, "logs": numbers}
        tracker.on_log(trainer.args, trainer.state, trainer.control, **how)


def is_told_trackio(trainer: Any) -> bool:
    """Whether trackio is among the trackers."""
    return any(type(tracker).__name__ == "TrackioCallback" for tracker in trackers_of(trainer))


class Traces(TrainerCallback):
    """After a logged step the completions of its most telling groups, as traces of trackio with
    rewards and advantages; ``episodes`` gives those of the last generation.
    """

    def __init__(self, episodes: Callable[[], Sequence[Episode]], say: Say) -> None:
        self.episodes, self.say, self.given_up = episodes, say, False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if self.given_up or not state.is_world_process_zero or "reward" not in (logs or {}):
            return
        step = state.global_step
        if step % max(1, state.max_steps // STEPS):
            return
        import trackio

        try:
            made = [
                trackio.Trace(messages_of(episode), facts_of(episode, step))
                for episode in telling(self.episodes())
            ]
            trackio.log({"groups": made}, step=step)
        except Exception as error:  # noqa: BLE001 - a training is worth more than its traces
            self.given_up = True
            self.say(f"note: no more traces for trackio ({one_line(error)[:120]})")


def telling(episodes: Sequence[Episode]) -> list[Episode]:
    """The members of the groups whose advantages are the largest."""
    groups = [list(members) for _, members in groupby(episodes, attrgetter("group"))]
    groups.sort(key=lambda members: -sum(abs(_advantage(each) or 0.0) for each in members))
    return [episode for members in groups[:GROUPS] for episode in members[:MEMBERS]]


def messages_of(episode: Episode) -> list[dict[str, Any]]:
    """An episode as a conversation: a dialogue's messages, or a prompt and its completion."""
    if episode.dialogue is not None:
        return [dict(message) for message in episode.dialogue.messages]
    prompt = {"role": "user", "content": episode.turns[0].prompt}
    return [prompt, {"role": "assistant", "content": episode.text}]


def facts_of(episode: Episode, step: int) -> dict[str, Any]:
    """What an episode was paid, and why, by name."""
    parts = {name: score.value for name, score in episode.score.parts.items()}
    return {
        "session_id": f"step {step}, group {episode.group}",
        "row": episode.row,
        "reward": episode.score.value,
        "advantage": _advantage(episode),
        "truncated": episode.truncated,
        **{f"reward/{name}": value for name, value in parts.items()},
    }


def _advantage(episode: Episode) -> float | None:
    """The weight of its first turn; None where there is none, or it is no number."""
    weight = episode.weights[0] if episode.weights else None
    return weight if weight is not None and weight == weight else None


def alert(step: int, finding: Finding) -> None:
    """Tell trackio of a finding; the terminal has it already."""
    import trackio

    level = trackio.AlertLevel.ERROR if finding.confidence >= SURE else trackio.AlertLevel.WARN
    text = f"step {step}: {finding.says}. Change: {finding.remedy}"
    with contextlib.redirect_stdout(io.StringIO()):
        trackio.alert(finding.kind, text, level)
