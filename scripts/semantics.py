"""Has the meaning of TRL's losses moved? ``python scripts/semantics.py [VERSION | newest]``
compares the installed TRL, or another in a folder of its own, with receipts/semantics.json.

Each loss and its gradient are measured on the same few rows (tests/semantics), against the papers'
formulas and against the record; defaults and the source of each method are compared as well.
"""

import dataclasses
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from operator import eq
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from scripts.marked import replaced, table

ROOT = Path(__file__).resolve().parent.parent
RECEIPT, PAGE = ROOT / "receipts" / "semantics.json", ROOT / "docs" / "semantics.md"
PLACES = ROOT / "build" / "semantics"
METHODS = (
    "_compute_loss", "_generate_and_score_completions", "_get_per_token_logps_and_entropies",
    "_prepare_inputs", "get_high_entropy_mask", "get_off_policy_mask", "get_gamma_weights",
)  # fmt: skip
SAME = 2e-6
"""Two versions give one number, relative to the gradient's length or to the number."""
REFUSALS = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)
VERSION = re.compile(r"newest|\d+(\.\d+)*")
Figure = dict[str, Any]


def measure() -> Figure:
    """What the TRL that is imported makes of every case, with its defaults and sources; ``head`` is
    why its own log-probabilities could not be asked, null where they were.
    """
    import trl

    head = _refused_head()
    return {
        "version": trl.__version__,
        "head": head,
        "cases": _cases(head is not None),
        "before": _before(head is not None),
        "defaults": _defaults(),
        "sources": _sources(),
    }


def _refused_head() -> str | None:
    """Why TRL gives no log-probabilities on this machine, if it does not."""
    from tests.semantics.cases import cases

    case = cases()["dapo"]
    try:
        _asked(case, plain=False)
    except (AttributeError, ImportError, RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _cases(plain: bool) -> dict[str, Figure]:
    """By case: the loss, its gradient (its length and two projections), and how far both are from
    the paper's; or the sentence with which TRL refuses it.
    """
    from tests.semantics.cases import cases

    found: dict[str, Figure] = {}
    for name, case in cases().items():
        try:
            found[name] = _measured(case, plain)
        except REFUSALS as error:
            found[name] = {"refused": f"{type(error).__name__}: {str(error)[:100]}"}
    return found


def _measured(case: Any, plain: bool) -> Figure:
    import numpy as np

    loss, gradient = _asked(case, plain)
    paper, slope = case.expected()
    ways = np.random.default_rng(0).normal(size=(2, gradient.size))
    length = float(np.linalg.norm(slope))
    off = float(np.linalg.norm(gradient - slope)) / length
    return {
        "loss": loss,
        "gradient": [float(np.linalg.norm(gradient)), *map(float, ways @ gradient)],
        "from_paper": max(off, abs(loss - paper.loss) / max(abs(paper.loss), length)),
    }


def _asked(case: Any, plain: bool) -> Any:
    from tests.semantics import stock
    from tests.semantics.cases import BOUNDS

    with tempfile.TemporaryDirectory() as folder:
        made = stock.trainer(Path(folder), case.settings)
    if plain:
        stock.plain_head(made)
    if case.sampler is not None:
        stock.corrects(made, case.sampler, *BOUNDS)
    return stock.loss_and_gradient(made, case.inputs)


def _before(plain: bool) -> Figure:
    """What is made of the rows before a loss is asked: sums of squares."""
    from tests.semantics import rows, stock

    with tempfile.TemporaryDirectory() as folder:
        made = stock.trainer(Path(folder), {"mask_truncated_completions": True}, [_graded])
    if plain:
        stock.plain_head(made)
    stock.corrects(made, "token_truncate", None, 3.0)
    try:
        found = stock.judged(made, rows.others()[2])
    except REFUSALS as error:
        return {"refused": f"{type(error).__name__}: {str(error)[:100]}"}
    return {name: float(value.double().square().sum()) for name, value in sorted(found.items())}


def _graded(completions: list[str], **_: Any) -> list[float]:
    return [float(number % 3) for number, _ in enumerate(completions)]


def _defaults() -> dict[str, str]:
    """Every field that TRL's configuration adds to transformers', as written."""
    from transformers import TrainingArguments
    from trl import GRPOConfig

    usual = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    return {
        field.name: repr(field.default)
        for field in sorted(dataclasses.fields(GRPOConfig), key=lambda field: field.name)
        if field.name not in usual or field.default != usual[field.name]
    }


def _sources() -> dict[str, str]:
    """A hash of each method that the losses come from, '' where there is none."""
    from trl import GRPOTrainer

    methods = {name: getattr(GRPOTrainer, name, None) for name in METHODS}
    texts = {name: "" if of is None else inspect.getsource(of) for name, of in methods.items()}
    return {name: hashlib.sha256(of.encode()).hexdigest()[:16] for name, of in texts.items()}


def differences(old: Figure, new: Figure) -> list[str]:
    """What two figures do not agree about, a line each."""
    lines = [] if old["head"] == new["head"] else [f"head: {old['head']} -> {new['head']}"]
    for part, same in (("cases", _same_case), ("before", _same_number)):
        lines += [f"{part}: {line}" for line in _moved(old[part], new[part], same)]
    lines += [f"default of {line}" for line in _moved(old["defaults"], new["defaults"], eq)]
    changed = _moved(old["sources"], new["sources"], eq)
    return lines + [f"source of {line.split(':')[0]}" for line in changed]


def _moved(old: Figure, new: Figure, same: Callable[[Any, Any], bool]) -> list[str]:
    """The entries that two tables do not have alike."""
    lines = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is None or now is None or not same(was, now):
            lines.append(f"{name}: {was} -> {now}")
    return lines


def _same_case(was: Figure, now: Figure) -> bool:
    if "refused" in was or "refused" in now:
        return was == now
    length = max(1.0, was["gradient"][0])
    pairs = zip([was["loss"], *was["gradient"]], [now["loss"], *now["gradient"]], strict=True)
    return all(abs(one - other) <= SAME * length for one, other in pairs)


def _same_number(was: Any, now: Any) -> bool:
    if isinstance(was, str) or isinstance(now, str):
        return bool(was == now)
    return abs(was - now) <= SAME * max(1.0, abs(was))


def of_version(version: str) -> Figure:
    """The figure of another TRL, which is brought into build/semantics and lies in front of the
    installed one; everything else stays as it is installed.
    """
    place = PLACES / f"trl-{version}"
    if version == "newest":  # which may be another one today
        shutil.rmtree(place, ignore_errors=True)
    if not place.exists():
        asked = "trl" if version == "newest" else f"trl=={version}"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", str(place), asked], check=True)
    path = os.pathsep.join([str(place), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "scripts.semantics", "--json"],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figure: Figure = json.loads(done.stdout.splitlines()[-1])
    return figure


def report(found: Figure) -> int:
    """Print what has drifted from the record of this version, or of the last; how many lines."""
    recorded = read_json(RECEIPT)["figure"]["versions"]
    version = found["version"] if found["version"] in recorded else max(recorded, key=_order)
    lines = differences(recorded[version], found)
    worst = max((case.get("from_paper", 0.0) for case in found["cases"].values()), default=0.0)
    print(f"trl {found['version']} against the record of {version}: {len(lines)} differences")
    print(f"{len(found['cases'])} losses, at most {worst:.0e} from their papers' formulas")
    for line in lines:
        print(line)
    return len(lines)


def written(page: str, figure: Figure) -> str:
    """docs/semantics.md with the table of versions as the receipt has it."""
    rows, before = [], ""
    for version, found in figure["versions"].items():
        off = [case.get("from_paper", 1.0) for case in found["cases"].values()]
        ours = "yes" if found["head"] is None else "no"
        drift = _said(figure["drift"].get(f"{before} to {version}", []))
        rows.append(
            [
                version,
                ours,
                f"{sum(of > SAME for of in off)} of {len(off)}",
                f"{max(off):.0e}",
                drift,
            ]
        )
        before = version
    head = [
        "TRL",
        "runs on a CPU",
        "apart from the papers",
        "by at most",
        "what moved since the line above",
    ]
    return replaced(page, {"versions": table(head, rows)}, "docs/semantics.md")


def _said(lines: list[str]) -> str:
    """What moved, without its numbers: the cases, and the defaults."""
    cases = [line.split(": ")[1] for line in lines if line.startswith("cases: ")]
    defaults = [f"`{line[11:]}`" for line in lines if line.startswith("default of ")]
    return "; ".join(cases + defaults) or "–"


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def main(arguments: list[str]) -> int:
    if arguments == ["--json"]:
        print(json.dumps(measure()))
        return 0
    if arguments == ["--page"]:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(written(page, read_json(RECEIPT)["figure"]), encoding="utf-8")
        return 0
    if len(arguments) > 1 or not all(map(VERSION.fullmatch, arguments)):
        print("usage: python scripts/semantics.py [VERSION | newest], as 1.15.0", file=sys.stderr)
        return 2
    try:
        found = of_version(arguments[0]) if arguments else measure()
    except subprocess.CalledProcessError:
        said = f"semantics: trl {arguments[0]} could not be brought here and measured"
        print(f"{said}; what went wrong stands above", file=sys.stderr)
        return 2
    return min(report(found), 1)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main(sys.argv[1:]))
