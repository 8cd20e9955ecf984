"""A hash of the canonical question decides what is held out, before anything is sampled; training
never sees it.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from operator import itemgetter
from typing import Literal

from llmpolicy.errors import TaskError
from llmpolicy.tasks.rows import Row


def hold_out(rows: Sequence[Row], n: int | float) -> tuple[list[Row], list[Row]]:
    """Split rows into (train, held out): the ``n`` questions (or that fraction) with the lowest
    hash are held out.

    All rows of one question go to the same side, and a held-out question appears once. The same
    questions are held out whatever the order of the rows or the seed of a run. Raises TaskError
    when nothing would be left to train on.
    """
    distinct = len(by_question(rows))
    count = round(n * distinct) if isinstance(n, float) else n
    if count < 0 or count >= distinct:
        task = rows[0].task if rows else "without rows"
        raise TaskError(
            f"task {task!r} has {distinct} distinct questions; expected more than the {count} to"
            " be held out"
        )
    held_out = lowest(rows, count)
    return without(rows, held_out), held_out


def lowest(rows: Iterable[Row], count: int) -> list[Row]:
    """The ``count`` questions with the lowest hash, each once; all when there are fewer."""
    groups = by_question(rows)
    return [representative(groups[name]) for name in sorted(groups, key=question_hash)[:count]]


def without(rows: Iterable[Row], held_out: Iterable[Row]) -> list[Row]:
    """The rows whose question is not held out."""
    questions = {row.question for row in held_out}
    return [row for row in rows if row.question not in questions]


def by_question(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows grouped by their canonical question, in order of first appearance."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.question].append(row)
    return dict(groups)


def question_hash(question: str) -> bytes:
    """sha256 of a canonical question: the same on every machine and in every run."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()


def representative(rows: Sequence[Row]) -> Row:
    """The one of several rows with the same question that stands for it, whatever their order."""
    return min(rows, key=lambda row: (repr(row.prompt), row.task, row.index))


def check_disjoint(train: Sequence[Row], held_out: Sequence[Row]) -> None:
    """Raise TaskError naming the rows when a held-out question is also a training question."""
    trained = {row.question: row for row in train}
    shared = [row for row in held_out if row.question in trained]
    for row in shared:
        twin = trained[row.question]
        raise TaskError(
            f"{len(shared)} of {len(held_out)} held-out questions are also training questions; the"
            f" first is row {row.index} of task {row.task!r}, training row {twin.index} of"
            f" {twin.task!r}: {row.question!r:.80}"
        )


def shares(proportions: Mapping[str, float], total: int) -> dict[str, int]:
    """``total`` split in these proportions; what rounding leaves goes to the largest remainders."""
    whole = sum(map(Fraction, proportions.values()))
    counts, missing = {}, {}
    for name, proportion in proportions.items():
        share = total * Fraction(proportion) / whole
        counts[name] = int(share)
        missing[name] = share - int(share)
    late = sorted(missing, key=lambda name: (-missing[name], name))
    for name in late[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def mix(
    tasks: Mapping[str, Sequence[Row]], proportions: Mapping[str, float], seed: int
) -> list[Row]:
    """As many rows as the proportions allow without using one twice, each task spread evenly over
    the list.

    Which rows of an over-full task are used depends on the seed; one task alone stays as it is.
    """
    if len(tasks) == 1:
        [rows] = tasks.values()
        return list(rows)
    whole = sum(map(Fraction, proportions.values()))
    most = min(len(rows) * whole / Fraction(proportions[name]) for name, rows in tasks.items())
    counts = shares(proportions, int(most))
    placed = []
    for name, rows in tasks.items():
        chosen = random.Random(f"{seed}:{name}").sample(list(rows), min(counts[name], len(rows)))
        for index, row in enumerate(chosen):
            placed.append((Fraction(2 * index + 1, 2 * len(chosen)), row))
    placed.sort(key=itemgetter(0))  # stable: of equal places the first task's
    return list(map(itemgetter(1), placed))


def within(
    rows: Sequence[Row],
    lengths: Sequence[int],
    limit: int,
    policy: Literal["drop", "refuse"] = "drop",
) -> list[Row]:
    """The rows whose prompt has at most ``limit`` tokens; with ``refuse`` a longer one is an
    error.
    """
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
    if len(kept) == len(rows):
        return kept
    longest = rows[lengths.index(max(lengths))]
    too_long = (
        f"{len(rows) - len(kept)} of {len(rows)} prompts have more than {limit} tokens; the longest"
        f" is row {longest.index} of task {longest.task!r} with {max(lengths)}"
    )
    if policy == "refuse":
        raise TaskError(f"{too_long}; raise max_prompt_tokens or write `over_long: drop`")
    if not kept:
        raise TaskError(f"{too_long}; none is left to train on")
    return kept
