"""A probe for a terminal of 80 columns: bars of characters before numbers."""

from collections.abc import Iterator

from llmpolicy.diagnosis.probed import Cost, Probed, Sampled, histogram
from llmpolicy.terminal import visible

BAR = 24


def told(probed: Probed) -> str:
    """The whole of it, the verdict first and last."""
    sampled = probed.sampled
    verdict = "GO" if probed.go else "NO-GO"
    lines = [
        f"{probed.name}: {verdict}",
        f"{sampled.prompts} prompts x {sampled.samples} samples of the policy that training starts"
        " from",
        *_signal(sampled),
        *_rates(probed),
        *_lengths(sampled),
        *_parts(sampled),
        *_cost(probed),
    ]
    lines += [f"note: {words}" for words in probed.said]
    for reason in probed.found:
        mark = "note" if reason.note else "NO-GO"
        lines += [f"{mark}: {reason.says}", f"  change: {reason.remedy}"]
    return "\n".join([*lines, verdict])


def bar(share: float, low: float | None = None, high: float | None = None) -> str:
    """A share as a bar, its interval as dashes."""
    signs = []
    for place in range(BAR):
        middle = (place + 0.5) / BAR
        inside = low is not None and high is not None and low <= middle <= high
        signs.append("#" if middle <= share else "-" if inside else " ")
    return "".join(signs)


def _signal(found: Sampled) -> Iterator[str]:
    if not found.signal:
        return
    yield ""
    yield (
        f"groups with a signal, in a step of this batch (95 % of steps; * the recipe's G, of"
        f" {found.groups_per_step} groups)"
    )
    for share in [share for share in found.signal if share.size > 1]:
        mark = "*" if share.size == found.group else " "
        ends = share.of_step
        note = {"beta": "  by a fitted beta", "bound": "  at least", None: ""}[share.beyond]
        yield (
            f"{mark} G={share.size:<3d} |{bar(ends.value, ends.low, ends.high)}|"
            f" {ends.value:4.0%} [{ends.low:.0%}, {ends.high:.0%}]{note}"
        )


def _rates(probed: Probed) -> Iterator[str]:
    found = probed.sampled
    if not found.rates:
        return
    yield ""
    yield "how often a prompt is answered rightly"
    counts = histogram(found.rates)
    for name, count in counts.items():
        yield f"  {name:>11} |{bar(count / len(found.rates))}| {count}"
    at = ", ".join(f"pass@{k} {value:.0%}" for k, value in found.pass_at.items())
    yield f"  {at}"
    if found.ceiling is not None:
        k, best = found.ceiling
        yield (
            f"  {probed.steps} steps take {k} samples of a prompt: {best:.0%} are solved in one"
            " of them. More than that a training reaches only by what other prompts teach."
        )


def _lengths(found: Sampled) -> Iterator[str]:
    yield ""
    at = ", ".join(f"{name} {value:.0f}" for name, value in found.lengths.items())
    yield f"tokens of a completion: {at}; limit {found.limit}"
    cut = found.truncated
    yield f"  cut off: {cut.value:.1%} [{cut.low:.1%}, {cut.high:.1%}]"
    if found.suggested_length is not None:
        yield f"  suggested: max_completion_length: {found.suggested_length}"


def _parts(found: Sampled) -> Iterator[str]:
    yield ""
    mean = "-" if found.mean_reward is None else f"{found.mean_reward:.3g}"
    yield f"reward: mean {mean}, unjudged {found.unjudged:.1%}"
    for name, part in found.parts.items():
        moves = "moves" if part.moves else "never moves"
        share = "" if part.share is None else f", {part.share:.0%} of the variance within groups"
        average = "-" if part.mean is None else f"{part.mean:.3g} ± {part.std or 0.0:.3g}"
        yield f"  {name}: {average}, {moves}{share}{_late(part.seconds_p50, part.seconds_p95)}"
    if found.constant is not None:
        answer, paid = found.constant
        yield f"  one answer to everything, {visible(answer)[:24]!r}, would be paid {paid:.3g}"


def _late(middle: float | None, late: float | None) -> str:
    if middle is None or late is None:
        return ""
    return f", {1e3 * middle:.3g} ms a call (95 %: {1e3 * late:.3g})"


def _cost(probed: Probed) -> Iterator[str]:
    if probed.cost is None:
        return
    cost: Cost = probed.cost
    yield ""
    whole = cost.seconds_per_step * probed.steps
    yield (
        f"a step: {cost.seconds_per_step:.3g} s ({cost.processor_seconds_per_step:.3g} of"
        f" processors), {cost.tokens_per_step:,.0f} tokens; {probed.steps} steps {_time(whole)}"
    )
    peak = f"memory: {cost.peak_memory / 1e9:.2f} GB"
    if cost.worst_seconds_per_step is None or cost.worst_peak_memory is None:
        yield f"  {peak} ({cost.why})"
        return
    yield f"  {peak} of {cost.memory_there / 1e9:.1f}"
    yield (
        f"  worst case, carried out: {cost.worst_seconds_per_step:.3g} s a step,"
        f" {cost.worst_peak_memory / 1e9:.2f} GB"
    )


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
