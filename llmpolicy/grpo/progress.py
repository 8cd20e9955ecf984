"""The line that says how a run goes, and the notes below it: why the loss is about 0, and that
nothing is learned.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmpolicy.episode import Episode
from llmpolicy.terminal import Say, visible

SIGNAL_NOTE = (
    "nothing was learned from this step: all advantages are 0 or below 1e-6, since in every group"
    " the rewards that are known are equal, or nearly (TRL adds 1e-4 to their standard deviation)"
)
UNJUDGED_NOTE = (
    "nothing was learned from this step: the rewards judged no completion (each returned None)"
)
SILENT_STEPS = 10
"""Steps without a signal, one after the other, after which what to try is said."""
SHOWN = 200

Logs = Mapping[str, Any]
Episodes = Callable[[], Sequence[Episode]]


class Progress(TrainerCallback):
    """A line every few seconds: reward with its parts, groups with a signal, truncation, seconds by
    phase, time left.

    What a line needs to be understood is said once. ``episodes`` gives the completions of the last
    generation.
    """

    def __init__(self, say: Say, *, seconds: float = 5.0, episodes: Episodes = tuple) -> None:
        self.say, self.seconds, self.episodes = say, seconds, episodes
        self.started, self.first_step, self.said = time.monotonic(), 0, 0.0
        self.silent, self.noted = 0, set[str]()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        done, now = state.global_step - self.first_step, time.monotonic()
        if done <= 1 or now - self.said >= self.seconds or state.global_step >= state.max_steps:
            self.said = now
            a_step = (time.monotonic() - self.started) / max(done, 1)
            left = a_step * (state.max_steps - state.global_step)
            self.say(progress_line(state.global_step, state.max_steps, logs, left))
        self._note(args, logs)

    def _note(self, args: TrainingArguments, logs: Logs) -> None:
        """Say what a step without a signal, or a loss of about 0, means: each once."""
        unjudged = logs.get("rewards/unjudged") == 1.0
        has_signal = not unjudged and logs.get("advantages/live", 1.0) > 0
        self.silent = 0 if has_signal else self.silent + 1
        if not has_signal:
            why = UNJUDGED_NOTE if unjudged else SIGNAL_NOTE
            self._once("step", f"  note: {why}")
            if self.silent >= SILENT_STEPS and "silence" not in self.noted:
                episodes = self.episodes()
                self._once("silence", silence(self.silent, logs, episodes, unjudged=unjudged))
        elif abs(logs.get("loss") or 0.0) < 1e-3:
            self._once("loss", f"  note: {loss_note(args)}")

    def _once(self, what: str, line: str) -> None:
        if what not in self.noted:
            self.noted.add(what)
            self.say(line)


def loss_note(args: Any) -> str:
    """Why a loss of about 0 is right with these settings of GRPO."""
    accumulation = getattr(args, "gradient_accumulation_steps", 1)
    uses = (getattr(args, "steps_per_generation", None) or accumulation) * getattr(
        args, "num_iterations", 1
    )
    if uses <= accumulation:
        why = (
            "with one update a generation the ratio is 1 and the advantages of a group add up to 0"
        )
    else:
        why = (
            "the advantages of a group add up to 0, and the ratio, which is 1 at a generation's"
            " first update, stays near 1 in the later ones"
        )
    note = f"the loss is about 0 and that is right: {why}; watch the reward"
    if kl := getattr(args, "beta", 0.0):
        note += (
            f"; beta x KL, {kl:g} times a distance that is 0 at the start, is added to it: watch"
            " the KL too"
        )
    return note


def silence(steps: int, logs: Logs, episodes: Sequence[Episode], *, unjudged: bool) -> str:
    """That nothing was learned for some steps, with two completions, and what to try."""
    reward, cut = logs.get("reward"), logs.get("completions/clipped_ratio") or 0.0
    paid = "each returned None"
    if reward is not None and not unjudged:
        paid = f"the reward of the last step is {reward:.3f}"
    lines = [
        f"  note: nothing was learned for {steps} steps: the completions of a prompt are all paid"
        f" the same ({paid})"
    ]
    for episode in [*episodes[:1], *episodes[len(episodes) // 2 :][:1]]:
        lines.append(f"    prompt:     {_line(episode.turns[0].prompt, end=True)}")
        lines.append(f"    completion: {_line(episode.text)}")
    longer = f"a larger max_completion_length ({cut:.0%} are cut off now), " if cut > 0.1 else ""
    lines.append(
        f"    If these are wrong, try {longer}a few worked examples (task.few_shot), the beginning"
        " of the answer (task.prefill), supervised training first (sft: and demonstrations:), an"
        " easier reward that pays parts of the answer, or easier questions."
    )
    lines.append(
        "    If these are right, the questions are too easy: take harder ones. If the reward is"
        " wrong: check-reward."
    )
    return "\n".join(lines)


def progress_line(step: int, steps: int, logs: Logs, seconds_left: float) -> str:
    """The line of one step, as text; KL to the reference and entropy, in nats a token, where they
    are known.
    """
    parts = []
    for key, value in logs.items():
        if key.startswith("rewards/") and key.endswith("/mean"):
            parts.append(f"{key.split('/')[1]} {_short(value)}")
    shown = f" ({', '.join(parts)})" if len(parts) > 1 else ""
    generation, rewards = logs.get("seconds/generation") or 0.0, logs.get("seconds/rewards") or 0.0
    update = max((logs.get("step_time") or 0.0) - generation - rewards, 0.0)
    live = logs.get("advantages/live") or 0.0
    cut = logs.get("completions/clipped_ratio") or 0.0
    distances = ""  # KL and entropy
    for key, name in (("kl", "KL"), ("entropy", "entropy")):
        if _is_number(logs.get(key)):
            distances += f"{name} {logs[key]:.3g}  "
    return (
        f"step {step}/{steps}  reward {_short(logs.get('reward'))}{shown}  signal in {live:.0%} of"
        f" groups  truncated {cut:.0%}  {distances}gen {generation:.2f}s + rewards"
        f" {rewards:.2f}s + update {update:.2f}s  {clock(seconds_left)} left"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line(text: str | None, *, end: bool = False) -> str:
    """One line of a text with what is invisible spelled out: its beginning, or its end, where a
    prompt has its question.
    """
    shown = visible(text or "''")
    if len(shown) <= SHOWN:
        return shown
    return "..." + shown[-SHOWN:] if end else shown[:SHOWN] + "..."


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:04."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
