"""What a probe found of a recipe before it is trained, and whether it is worth the training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmpolicy.evaluation.signal_share import Share
from llmpolicy.statistics import Interval

LIVE_GROUPS = 1.0
"""Groups with a signal that a step must have on average, or it mostly teaches nothing."""
MOST_CUT, MOST_UNJUDGED, SOLVED, MOST_MEMORY = 0.5, 0.2, 0.98, 0.95
CONSTANT = 0.9
"""The share of the highest pay that one constant answer may earn."""
ENOUGH = 0.2
"""The share of groups with a signal that a larger group is suggested for."""

EASIER = "easier questions, a warm start (demonstrations:, sft:) or a reward for a part of it"


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that speaks against a training, in numbers, and what to change; a ``note`` does not
    forbid it.
    """

    kind: str
    says: str
    remedy: str
    note: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A reward over all samples: whether it ``moves`` within any group, its ``share`` of the
    variance within groups (None: it has no term of its own), and the seconds of a call.
    """

    mean: float | None
    std: float | None
    moves: bool
    share: float | None
    seconds_p50: float | None
    seconds_p95: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What steps take on this machine; ``peak_memory`` in bytes, of an accelerator where there is
    one.
    """

    seconds_per_step: float
    processor_seconds_per_step: float
    tokens_per_step: float
    peak_memory: int
    worst_seconds_per_step: float | None
    worst_peak_memory: int | None
    memory_there: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the base policy's samples show; lengths are in tokens, ``rates`` are of prompts that are
    judged, ``group`` is the recipe's. ``ceiling`` is the number of samples that the training
    takes of a prompt, and pass@k of so many.
    """

    prompts: int
    samples: int
    group: int
    groups_per_step: int
    limit: int
    signal: Sequence[Share]
    rates: Sequence[float]
    pass_at: Mapping[int, float]
    ceiling: tuple[int, float] | None
    lengths: Mapping[str, float]
    truncated: Interval
    suggested_length: int | None
    unjudged: float
    mean_reward: float | None
    top: float
    parts: Mapping[str, Part]
    constant: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class Probed:
    """A recipe before its training: what was sampled, what it costs (None where no step could be
    rehearsed, ``failed`` says why), over so many ``steps`` that visit a prompt ``visits`` times.
    """

    name: str
    steps: int
    visits: float
    sampled: Sampled
    cost: Cost | None
    failed: str = ""
    said: Sequence[str] = field(default_factory=tuple)

    @property
    def found(self) -> list[Reason]:
        """All that is to be said, what forbids the training first."""
        return sorted([*_reasons(self.sampled), *_of_cost(self)], key=lambda reason: reason.note)

    @property
    def reasons(self) -> list[Reason]:
        """What forbids the training."""
        return [reason for reason in self.found if not reason.note]

    @property
    def go(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """The probe as plain data; memory in bytes."""
        sampled = self.sampled
        plain: dict[str, Any] = {"schema": 1, "recipe": self.name, "go": self.go}
        plain["reasons"] = [_plain(reason) for reason in self.reasons]
        plain["notes"] = [_plain(reason) for reason in self.found if reason.note]
        plain["signal"] = {str(share.size): _share(share) for share in sampled.signal}
        for name in ("prompts", "samples", "group", "groups_per_step", "unjudged", "mean_reward"):
            plain[name] = getattr(sampled, name)
        plain["truncated"] = sampled.truncated.to_dict()
        plain["lengths"] = {"limit": sampled.limit, **sampled.lengths}
        plain["suggested_length"] = sampled.suggested_length
        plain["pass_rates"] = histogram(sampled.rates)
        plain["pass_at_k"] = {str(k): value for k, value in sampled.pass_at.items()}
        ceiling = sampled.ceiling
        plain["ceiling"] = ceiling and {"k": ceiling[0], "value": ceiling[1]}
        plain["parts"] = {name: asdict(part) for name, part in sampled.parts.items()}
        plain["constant"] = sampled.constant and {
            "answer": sampled.constant[0],
            "reward": sampled.constant[1],
        }
        cost = dict.fromkeys(Cost.__slots__) if self.cost is None else asdict(self.cost)
        return plain | {"steps": self.steps, "visits": self.visits} | cost


def _plain(reason: Reason) -> dict[str, str]:
    return {"kind": reason.kind, "says": reason.says, "remedy": reason.remedy}


def _share(share: Share) -> dict[str, Any]:
    """``low`` and ``high`` are of one step, what a log then shows; the mean's are narrower."""
    mean = share.of_prompts
    plain = {**share.of_step.to_dict(), "mean_low": mean.low, "mean_high": mean.high}
    return {**plain, "beyond": share.beyond}


def histogram(rates: Sequence[float]) -> dict[str, int]:
    """How many prompts are solved never, in up to a quarter of the samples, ..., always."""
    counts = dict.fromkeys(("0", "to 25 %", "to 50 %", "to 75 %", "below 100 %", "100 %"), 0)
    names = list(counts)
    for rate in rates:
        place = 0 if rate <= 0 else 5 if rate >= 1 else min(4, 1 + int(rate * 4 - 1e-9))
        counts[names[place]] += 1
    return counts


def _reasons(found: Sampled) -> Iterator[Reason]:
    yield from _signal(found)
    if found.truncated.low > MOST_CUT:
        longer = found.suggested_length or 2 * found.limit
        yield Reason(
            "cut_off",
            f"{found.truncated.value:.0%} of the completions are cut off at {found.limit} tokens",
            f"max_completion_length: {longer}, or a prompt that asks for less",
        )
    if found.unjudged > MOST_UNJUDGED:
        yield Reason(
            "unjudged",
            f"{found.unjudged:.0%} of the completions could not be judged",
            "mend the reward (`llmpolicy check-reward`)",
        )
    for name, part in found.parts.items():
        if not part.moves:
            yield Reason(
                "constant_part",
                f"{name} is the same for all samples of every prompt: it can move nothing yet",
                "drop it, or pay steps on the way to it",
                note=True,
            )
    yield from _constant(found)


def _signal(found: Sampled) -> Iterator[Reason]:
    here = next((share for share in found.signal if share.size == found.group), None)
    if found.group < 2:  # another baseline than the group's: rewards must differ at all
        if all(part.std == 0 for part in found.parts.values()):
            yield Reason("no_signal", "every sample has the same reward", EASIER)
        return
    if here is None or here.of_prompts.value * found.groups_per_step >= LIVE_GROUPS:
        return
    says = f"{here.of_prompts.value:.1%} of groups of {found.group} would have a signal"
    if found.rates and sum(found.rates) >= SOLVED * len(found.rates):
        yield Reason("solved", f"{says}: the base solves it already", "a harder task")
        return
    larger = [s.size for s in found.signal if s.size > found.group and s.of_prompts.low > ENOUGH]
    remedy = EASIER
    if larger:
        remedy = f"num_generations: {larger[0]}, or {remedy}"
    yield Reason("no_signal", says, remedy)


def _constant(found: Sampled) -> Iterator[Reason]:
    if found.constant is None or found.top <= 0:
        return
    answer, paid = found.constant
    if paid >= CONSTANT * found.top or paid > (found.mean_reward or 0.0) > 0:
        yield Reason(
            "constant_answer",
            f"the one answer {answer[:30]!r} to everything is paid {paid:.3g}, the samples"
            f" {found.mean_reward or 0.0:.3g}, at most {found.top:.3g}",
            "a reward that reads the question (`llmpolicy check-reward`), or a balanced task",
            note=paid < CONSTANT * found.top,
        )


def _of_cost(probed: Probed) -> Iterator[Reason]:
    cost = probed.cost
    if cost is None:
        yield Reason("failed", probed.failed, "what it says")
        return
    most = max(cost.peak_memory, cost.worst_peak_memory or 0)
    if most > MOST_MEMORY * cost.memory_there:
        yield Reason(
            "memory",
            f"a worst-case step takes {most / 1e9:.1f} GB of {cost.memory_there / 1e9:.1f}",
            "a smaller per_device_train_batch_size or max_completion_length, or lora:",
        )
