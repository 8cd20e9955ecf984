"""What a reward says of its own examples and of the gold answers of a task's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmpolicy.audit.asking import Answered, answers, misfits, sample_of
from llmpolicy.audit.subject import SHOWN, Subject
from llmpolicy.errors import RewardError
from llmpolicy.rewards.contract import RESERVED
from llmpolicy.rewards.declare import COMMON_FORMATS
from llmpolicy.types import Sample

MOST_SEEN = 150
"""Gold answers that are swapped, or asked again in other ways."""

_ROWS = 3
Row = Mapping[str, Any]


def check_examples(subject: Subject) -> None:
    """The contract's examples: those that pass must be paid, those that fail must not."""
    for wanted in ("passes", "fails"):
        samples = []
        for example in getattr(subject.contract, wanted):
            if _is_meant(example, subject.spec.args) and _fits(subject, example, wanted):
                samples.append(sample_of(example, subject.component))
        subject.seen += samples
        for sample, answer in zip(samples, subject.judge(samples), strict=True):
            subject.report.examples += 1
            if answer.value is None or subject.paid(answer.value) != (wanted == "passes"):
                why = f" ({answer.why})" if answer.why else ""
                shown = sample.completion[:SHOWN]
                subject.error(f"an example that {wanted} scored {answer.value}{why}: {shown!r}")


def _is_meant(example: Row, args: Row) -> bool:
    """An example that names an option holds for that option alone."""
    return all(args.get(name, value) == value for name, value in example.items())


def _fits(subject: Subject, example: Row, wanted: str) -> bool:
    wrong = list(misfits(example, subject.component))
    for what in wrong:
        subject.error(f"an example that {wanted} {what}: {dict(example)!r:.100}")
    return not wrong


def check_golds(subject: Subject, rows: Sequence[Row]) -> None:
    """The task's gold answers, written in the first format that the reward reads, must be paid; a
    few are shown. RewardError for rows without the columns that the reward asks for.
    """
    if not rows:
        return
    columns = [name for name in rows[0] if name not in RESERVED]
    held = [name for name in ("answer", "tests") if name in subject.component.optional]
    if "answer" in held and not set(held) & set(columns):
        raise RewardError(
            f"The rows have no column {' or '.join(map(repr, held))}; they have"
            f" {', '.join(map(str, rows[0]))}."
        )
    subject.rewards.check_columns(columns)
    column = _gold_column(subject, columns)
    if column is None:
        _check_readable(subject, rows, columns, with_tests="tests" in held)
        return
    form = _form(subject, rows, column, columns)
    samples = _as_golds(rows, column, form, columns)
    subject.seen += samples[:MOST_SEEN]
    subject.report.golds = len(rows)
    for sample, answer in zip(samples, _show(subject, samples), strict=True):
        gold = f"row {sample.row}: the gold answer {_shown(sample.columns[column])}"
        if answer.value is None:
            subject.error(f"{gold} cannot be judged: {answer.why}")
        elif not subject.paid(answer.value):
            why = f": {answer.why}" if answer.why else ""
            subject.error(f"{gold} itself scored {answer.value}{why}")
    if column != "answer":  # the battery's attacks are for that name
        _check_swapped(subject, samples, column)


def _check_readable(
    subject: Subject, rows: Sequence[Row], columns: Sequence[str], with_tests: bool
) -> None:
    """Rows without a gold answer: a few are shown. Tests are none, but must be readable."""
    samples = _as_golds(rows if with_tests else rows[:_ROWS], "answer", "{}", columns)
    for sample, answer in zip(samples, _show(subject, samples), strict=True):
        if with_tests and answer.value is None:
            subject.error(f"row {sample.row} cannot be judged: {answer.why}")


def _check_swapped(subject: Subject, samples: Sequence[Sample], column: str) -> None:
    """The gold answer of another row must not be paid."""
    pairs = []
    for mine, theirs in zip(samples[:MOST_SEEN], samples[1:], strict=False):
        if mine.columns[column] != theirs.columns[column]:
            pairs.append((mine, theirs))
    swapped = [replace(mine, completion=theirs.completion) for mine, theirs in pairs]
    for (mine, theirs), answer in zip(pairs, subject.judge(swapped), strict=True):
        if subject.paid(answer.value):
            subject.error(
                f"row {mine.row}: {_shown(theirs.columns[column])}, the gold answer of row"
                f" {theirs.row}, scored {answer.value}"
            )


def _gold_column(subject: Subject, columns: Sequence[str]) -> str | None:
    """The column with the gold answer: ``answer``, else the only one that a reward asks for that
    declares no kind.
    """
    names = (*subject.component.required, *subject.component.optional)
    asked = [name for name in names if name in columns]
    if "answer" in asked:
        return "answer"
    return asked[0] if len(asked) == 1 and subject.contract.kind is None else None


def _form(subject: Subject, rows: Sequence[Row], column: str, columns: Sequence[str]) -> str:
    """How a gold answer is written: as the reward declares, else in the first common format that
    it pays.
    """
    contract = subject.contract
    if contract.passes or contract.kind or tuple(contract.formats) != ("{}",):
        return contract.formats[0]
    for form in COMMON_FORMATS:
        samples = _as_golds(rows[:_ROWS], column, form, columns)
        if any(subject.paid(answer.value) for answer in answers(subject.fresh(), samples)):
            return form
    return COMMON_FORMATS[0]


def _show(subject: Subject, samples: Sequence[Sample]) -> list[Answered]:
    """Score gold answers, and keep the first few for the report."""
    answered = subject.judge(samples)
    for sample, answer in zip(samples[:_ROWS], answered, strict=False):
        row = f"row {sample.row}: {sample.completion!r:.200}"
        subject.report.shown.append((row, answer.value, answer.why))
    return answered


def _as_golds(rows: Sequence[Row], column: str, form: str, columns: Sequence[str]) -> list[Sample]:
    """Rows whose completions are their gold answers; without one an empty completion."""
    samples = []
    for number, row in enumerate(rows):
        text = "" if row.get(column) is None else _written(form, row[column])
        samples.append(Sample(text, {name: row.get(name) for name in columns}, row=number))
    return samples


def _written(form: str, answer: Any) -> str:
    """The gold answer in a format; a solution that marks its own answer by a box is written as it
    is.
    """
    final = str(answer).rpartition("####")[2].strip()
    if "\\boxed" in final:
        return final
    return form.replace("{}", final)


def _shown(answer: Any) -> str:
    shown = f"{str(answer)[-SHOWN:]!r}"
    return shown if isinstance(answer, str) else f"{shown} ({type(answer).__name__}, not text)"
