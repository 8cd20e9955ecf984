"""The folders of the stages before GRPO: found again as long as what they were made from stays the
same, held by one process while they are made.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.errors import RunError
from llmpolicy.plan import Plan
from llmpolicy.run import damage, is_failed_start, keep_damaged, recover
from llmpolicy.run.lock import holds, lock, release
from llmpolicy.run.place import REPORTS, claim
from llmpolicy.run.sealed import content_digest
from llmpolicy.signals import Interrupted, is_main, terminable
from llmpolicy.stages.request import Request
from llmpolicy.stages.sources import digest, weight_files
from llmpolicy.tasks import Demonstration, Pair
from llmpolicy.terminal import Say, quiet

Digests = Mapping[str, str]
"""What a stage was made from, with a hash of each."""

LEARNT = {
    "sft": ("demonstrations", "sft"),
    "reward_model": ("demonstrations", "sft", "preferences", "reward_model"),
}
"""The blocks of a recipe that decide what a stage comes to, besides seed, model and task."""
TOLD = ("fn", "args", "tools", "tools_in", "chat")
"""What of an environment decides which tools demonstrations are shown, and how."""


@dataclass(frozen=True)
class StageFolder:
    """The folder of a stage, and all that decides what it comes to, as it lies there now."""

    stage: str
    report: Path
    made_from: Digests

    @classmethod
    def of(cls, stage: str, request: Request) -> "StageFolder":
        """The folder of a stage.

        Raises RunError where a run that goes on was made from something else.
        """
        report = request.out / REPORTS[stage]
        facts: Digests = _facts(stage, request.plan)
        if request.resume:
            facts = _unchanged(request.out, stage, facts, request.say)
        return cls(stage, report, facts)

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.report.parent

    def is_there(self, say: Say) -> bool:
        """Whether it lies there whole, made from the same; a damaged one is kept aside by the main
        process.
        """
        if is_main():
            recover(self.path)
        before = _made_from(self.report)
        if before is None:
            return False
        if difference := _difference(before, self.made_from):
            say(f"{self.stage}: {self.path} was made from {difference}, and is made anew")
            return False
        if keep_damaged(self.path, say) if is_main() else damage(self.path) is not None:
            return False
        say(f"{self.stage}: found in {self.path}")
        return True

    def begins(self, lines: Iterable[str], say: Say) -> bool:
        """Whether the stage is carried out, as it is not there: it is introduced, and its output is
        left to llmpolicy.
        """
        if self.is_there(say):
            return False
        for line in lines:
            say(line)
        import datasets

        quiet()
        datasets.disable_progress_bars()
        return True


def _facts(stage: str, plan: Plan) -> Digests:
    """All that decides what a stage comes to: its part of the recipe, and the content of what that
    names.
    """
    resolved = plan.recipe.resolved()
    evaluate = resolved["evaluate"] or {}
    asked = {name: resolved[name] for name in ("seed", "model", "task", *LEARNT[stage])}
    asked["held_out"] = {"n": evaluate.get("n"), "task": evaluate.get("task")}
    if played := resolved["environment"]:
        asked["told"] = {name: played[name] for name in TOLD if name in played}
    written = json.dumps(asked, sort_keys=True)
    content: dict[str, Sequence[Any]] = {
        "demonstrations": plan.demonstrations,
        "held-out questions": sorted(plan.held_out_questions),
        "model": [
            (role, name, content_digest(path)) for role, name, path in weight_files(plan.recipe)
        ],
    }
    if stage == "reward_model":
        content["preferences"] = [*plan.pairs.train, *plan.pairs.held_out]
    digests = {name: digest(map(_plain, items)) for name, items in content.items() if items}
    return {"recipe": hashlib.sha256(written.encode()).hexdigest()[:16], **digests}


def _plain(item: Any) -> Any:
    """A row as plain data, the options of its chat template included."""
    if not isinstance(item, Demonstration | Pair):
        return item
    values = [getattr(item, field.name) for field in fields(item)]
    return [*values, getattr(item.prompt, "options", {})]


def _made_from(report: Path) -> Digests | None:
    """What a stage was made from; earlier versions noted the recipe alone."""
    try:
        facts = read_json(report).get("made_from")
    except (FileNotFoundError, ValueError):
        return None
    return {"recipe": facts} if isinstance(facts, str) else facts


def _difference(before: Digests, now: Digests) -> str | None:
    """What a stage was made from that is not what lies there, in words; None where nothing is."""
    if before.get("recipe") != now["recipe"]:
        return "another recipe"
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return f"other content of {' and '.join(changed)}" if changed else None


def _unchanged(out: Path, stage: str, now: Digests, say: Say) -> Digests:
    """What a stage of a run that goes on was made from; RunError where something else lies there
    now.
    """
    before = _made_from(out / REPORTS[stage]) or {}
    if list(before) == ["recipe"] and before["recipe"] == now["recipe"]:
        say(
            f"note: {stage} was made by a version that noted no content; whether its data changed"
            " is unknown"
        )
    elif difference := _difference(before, now):
        raise RunError(
            f"{out} cannot go on: its {stage} was made from {difference}; bring that back, or start"
            " a new run"
        )
    return before


@contextmanager
def held(request: Request) -> Iterator[None]:
    """Hold a run's directory from before its first stage, and say what is kept when a signal ends
    it at once.

    Raises RunError when another process writes there, or a run that cannot go on is asked to.
    """
    out = request.out
    if not request.resume and (out / "manifest.json").is_file() and not is_failed_start(out):
        raise RunError(
            f"{out} already holds a run; go on with it (--resume) or choose another --out DIR"
        )
    if request.dry_run or not is_main() or holds(out):
        yield
        return
    _take(out, request.resume)
    try:
        with terminable():
            yield
    except KeyboardInterrupt as error:
        raise Interrupted.of(error, str(error) or _kept(out)) from None
    finally:
        release(out)
        with suppress(OSError):  # what was refused before anything was written leaves no name taken
            out.rmdir()


def _take(out: Path, resume: bool) -> None:
    if not resume:
        claim(out)
        return
    if not (out / "manifest.json").is_file() or is_failed_start(out):
        raise RunError(
            f"{out} has no checkpoint to go on from; give the same command without --resume"
        )
    lock(out)


def _kept(out: Path) -> str:
    stages = [f"{report.parent.name}/" for report in REPORTS.values() if (out / report).is_file()]
    kept = f"{' and '.join(stages)} is kept" if stages else "nothing was saved"
    return (
        f"stopped at once: {kept}; give the same command again, with --out {shlex.quote(str(out))}"
    )
