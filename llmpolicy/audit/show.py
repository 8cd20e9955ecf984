"""What `llmpolicy check-reward` does: read rows and arguments, check the reward, and show what was
found.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmpolicy import consent
from llmpolicy.audit.battery import ATTACKS, Attack
from llmpolicy.audit.check import PARTS, Report, check_reward
from llmpolicy.bounded import load_json, load_yaml, read_text
from llmpolicy.errors import RewardError
from llmpolicy.rewards.contract import Style
from llmpolicy.rewards.printed import printed
from llmpolicy.run import Run
from llmpolicy.tasks.sources import READERS, file_rows, find_file
from llmpolicy.terminal import columns, tell, visible

_SHOWN = 300
_LISTED = 10
_PRINTED = 5


def check(
    reference: str,
    *,
    data: Path | None = None,
    args: Sequence[str] = (),
    attacks: Path | None = None,
    parts: Sequence[str] = PARTS,
    quiet: bool = False,
    style: Style | None = None,
) -> Report:
    """Check a reward by its reference, with rows and more attacks from files, and print what was
    found.

    RewardError or TaskError when the reward or a file cannot be read.
    """
    rows = _rows(data) if data else []
    more = _attacks(attacks) if attacks else []
    named = dict(map(_argument, args))
    with _prints_shortened(show=not quiet):
        report = check_reward(
            reference, rows=rows, args=named, attacks=[*ATTACKS, *more], parts=parts, style=style
        )
    if not quiet:
        show(report)
    return report


class _Bytes(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        printed.take(bytes(data))
        return len(data)


def _prints() -> io.TextIOWrapper:
    """Stands in for standard output and errors while rewards are called in this process."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Bytes()), "utf-8", "replace", line_buffering=True, write_through=True
    )


@contextlib.contextmanager
def _prints_shortened(show: bool) -> Iterator[None]:
    """Of what a reward prints show the first lines and the count: it is called thousands of times,
    and the report matters.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, counts, prints = Path(folder) / "printed", list[str](), _prints()
        try:
            with (
                printed.kept_in(file, counts.append),
                contextlib.redirect_stdout(prints),
                contextlib.redirect_stderr(prints),
            ):
                yield
        finally:
            for count in counts if show else ():
                tell(f"{count.removesuffix(f': {file}')}; the first of them:")
                for line in file.read_text(encoding="utf-8", errors="replace").splitlines()[
                    :_PRINTED
                ]:
                    tell(f"  {_plain(line)}")


def replay(noted: str, *, yes: bool = False) -> str:
    """What a reward says when a noted call, ``FILE:LINE``, is made again; ``yes``: also one that
    has not run here before.
    """
    file, _, line = noted.rpartition(":")
    if not file or not line.isdigit():
        raise RewardError(f"--replay got {noted!r}; expected FILE:LINE.")
    from llmpolicy.audit.replay import (
        replay as again,
    )  # starts workers: of no use to who only checks

    run = Path(file).parent
    here = Run.open(run).call_here if (run / "manifest.json").is_file() else dict

    def agreed(call: Mapping[str, Any]) -> dict[str, Any]:
        now = here(call)
        consent.need(f"calling what {noted} has noted", now, Path(now["base_dir"]), yes=yes)
        return now

    return again(Path(file), int(line), agreed)


def show(report: Report) -> None:
    """Print a report for a reader."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=columns(120))
    for hole in report.holes:
        table = Table(
            title=escape(visible(f"hole: {hole.attack} (family {hole.family})")),
            title_justify="left",
            show_header=False,
        )
        table.add_column()
        table.add_column(overflow="fold")
        table.add_row("breaks", _plain(f"a reward that {hole.breaks}"))
        table.add_row("scored", f"{hole.score:g}")
        table.add_row("completion", _plain(hole.completion))
        console.print(table, markup=False)
    for sentence in [*_rows_shown(report), *_wrong(report), *summary(report)]:
        tell(sentence)


def told(report: Report) -> list[str]:
    """A report as lines of text."""
    lines = []
    for hole in report.holes:
        line = f"hole: {hole.attack} (family {hole.family}) scored {hole.score:g}"
        lines.append(f"{line}: {_plain(hole.completion)}")
    return [*lines, *_rows_shown(report), *_wrong(report), *summary(report)]


def _rows_shown(report: Report) -> Iterable[str]:
    if report.shown:
        yield "gold answers of the rows, as completions:"
    for row, value, why in report.shown:
        line = f"  {_plain(row)} scored {'None' if value is None else f'{value:g}'}"
        if why:
            line += f" ({_plain(why)})"
        yield line


def _wrong(report: Report) -> Iterable[str]:
    for sentence in report.errors:
        yield f"wrong: {_plain(sentence)}"
    if report.rejected:
        yield "right, but rejected:"
    for gold, completion in report.rejected[:_LISTED]:
        yield f"  for {gold!r}: {_plain(completion)}"


def summary(report: Report) -> Iterable[str]:
    """The last lines of a check."""
    tried = (
        ", ".join(report.topics) or "nothing: declare `kind` and `formats`, or examples that pass"
    )
    yield (
        f"{report.reward}: {report.examples} examples, {report.golds} gold answers; the battery"
        f" knows it by: {tried}"
    )
    yield (
        f"{len(report.holes)} holes in {report.attacks} attacks; {report.accepted} of"
        f" {report.total} right completions accepted"
    )
    if report.asked:
        worst = f"at worst {report.worst_seconds:.2f} s ({_plain(report.worst)[:60]})"
        yield f"{1000 * report.mean_seconds:.2f} ms a completion, {worst}"
    if report.clean:
        yield "clean"
    else:
        yield f"not clean: {len(report.holes)} holes, {len(report.errors)} errors"


def _plain(text: str) -> str:
    """Text that a terminal can show: one line, what is invisible spelled out, cut when long."""
    shown = visible(text)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(text)} characters)"
    return shown


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix not in READERS and not path.is_dir():
        raise RewardError(
            f"{path}: expected a file that ends in one of {', '.join(sorted(READERS))}."
        )
    file = find_file(str(path), None)
    rows = list(file_rows(file))
    if not rows:
        raise RewardError(f"{path} has no rows.")
    return rows


def _argument(written: str) -> tuple[str, Any]:
    key, equals, value = written.partition("=")
    if not equals:
        raise RewardError(f"--arg got {written!r}; expected KEY=VALUE.")
    try:
        return key, load_yaml(value)
    except (yaml.YAMLError, ValueError) as error:
        raise RewardError(
            f"--arg got {written!r}, whose value is not valid YAML"
            f" ({' '.join(str(error).split()):.100}); a text needs quotes of its own."
        ) from error


def _attacks(path: Path) -> list[Attack]:
    attacks = []
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise RewardError(
            f"{path}: not UTF-8 at byte {error.start}; expected a UTF-8 text file."
        ) from error
    except ValueError as error:
        raise RewardError(f"{path}: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = load_json(line)
            attacks.append(
                Attack(
                    entry.get("family", "A"),
                    entry["name"],
                    entry.get("breaks", "pays this"),
                    entry["text"],
                )
            )
        except (ValueError, KeyError, AttributeError) as error:
            raise RewardError(
                f"{path}, line {number}: expected {{'name': ..., 'text': ...}}; found"
                f" {line[:60]!r}."
            ) from error
    return attacks
