"""A run as one file of HTML, which is opened from a disk with no network."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from llmpolicy.diagnosis import Evidence, diagnose, evidence_at
from llmpolicy.diagnosis.finding import SHOWN
from llmpolicy.errors import RunError
from llmpolicy.report.page.facts import facts_of
from llmpolicy.report.page.pack import blocks, json_text
from llmpolicy.report.page.pieces import pieces_of, tokenizer_file
from llmpolicy.report.page.rows import LONGEST, Table, table_of
from llmpolicy.run import Run
from llmpolicy.run.files import write_text

STATIC = Path(__file__).parent / "static"
SCRIPTS = (
    "uplot.js",
    "base.js",
    "store.js",
    "charts.js",
    "overview.js",
    "groups.js",
    "prompts.js",
    "rollouts.js",
    "made.js",
    "main.js",
)
STYLES = ("uplot.css", "page.css")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<!-- uPlot, of which the curves are drawn:
{licence}
-->
<style>{style}</style>
</head>
<body>
<noscript>This page draws a run with scripts of its own; they are switched off here.</noscript>
<script type="application/json" id="facts">{facts}</script>
<script>{script}</script>
{blocks}</body>
</html>
"""


def write_page(folder: Path, out: Path | None = None) -> Path:
    """Write a run, or the output of TRL's trainer, as a page (``report.html`` in it by default)
    and return its path; RunError where there is nothing to show.
    """
    path = out or folder / "report.html"
    write_text(path, page_of(folder))
    return path


def page_of(folder: Path, *, live: str = "") -> str:
    """The page of a run; one that is ``live``, in this state of the run, asks whoever serves it
    for a later one.
    """
    run, evidence = _read(folder)
    found = diagnose(evidence)
    places = [place for finding in found.findings for place in finding.rollouts[:SHOWN]]
    wanted = [int(place.partition(":")[0]) for place in places]
    table = table_of(evidence, run, wanted=wanted)
    facts = facts_of(folder, run, evidence, found)
    facts["live"] = live
    pieces = pieces_of(tokenizer_file(run), list(table.tokens.numbers)) if run else []
    facts["missing"] += _left_out(table, evidence, pieces)
    return _html(facts, table.contents(pieces))


def _read(folder: Path) -> tuple[Run | None, Evidence]:
    """A run of ours, as far as it has come, or the output of TRL's trainer."""
    is_ours = (folder / "manifest.json").exists() or not folder.is_dir()
    run = Run.open(folder) if is_ours else None
    try:
        return run, evidence_at(folder)
    except RunError:
        if run is None:
            raise
        return run, Evidence([], [], run.metrics("eval"), run.recipe, {}, run.evaluation())


def _left_out(table: Table, evidence: Evidence, pieces: list[str]) -> list[str]:
    """What the page does not hold, in sentences."""
    said = []
    size, whole = len(table), len(evidence.completions)
    if size < whole:
        said.append(f"Of {whole:,} completions {size:,} are here: those of some steps.")
    if shortened := table.texts.shortened + table.prompts.shortened:
        said.append(f"{shortened} texts of more than {LONGEST:,} characters lack their middle.")
    by_token = sum(begin >= 0 for begin in table.columns["tokens"])
    if size and not pieces:
        said.append("Tokens are not shown one by one: no tokenizer of this run can be read.")
    elif by_token < size:
        said.append(f"Tokens are shown one by one in {by_token:,} completions.")
    return said


def _html(facts: dict[str, Any], contents: dict[str, bytes]) -> str:
    style = "\n".join(map(_static, STYLES))
    script = "\n".join(map(_static, SCRIPTS))
    return PAGE.format(
        policy=_policy(style, script, live=bool(facts["live"])),
        title=escape(f"{facts['name']} - llmpolicy"),
        licence=_static("uplot.LICENSE").strip(),
        style=style,
        facts=json_text(facts),
        script=script,
        blocks=blocks(contents),
    )


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _policy(style: str, script: str, *, live: bool) -> str:
    """Only this script and this style run; nothing is loaded, no text becomes HTML."""
    parts = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
