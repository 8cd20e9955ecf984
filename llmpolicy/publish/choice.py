"""What of a run is published: which weights, in which form, and the evaluation that speaks for
them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmpolicy.errors import PublishError, nearest
from llmpolicy.publish.base import base_hub_id
from llmpolicy.publish.card import tasks_of
from llmpolicy.publish.files import What
from llmpolicy.publish.shown import Record
from llmpolicy.run import Run, facts_of

Which = Literal["last", "best"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a run is published: the form, the weights and their folder, and the evaluation that
    speaks for them.
    """

    what: What
    which: Which
    trained: Literal["adapter", "full"]
    source: Path
    hub_id: str | None
    evaluation: Record | None
    measured_on_last: bool
    samples: bool = False


def choose(
    run: Run, what: str | None = None, which: str | None = None, samples: bool | None = None
) -> Choice:
    """Decide what is published, or raise PublishError in a sentence that names what can be.

    ``samples`` of the evaluation are shown on the card when the rows are others' already, or as it
    says.

    The form is the adapter when one was trained and its base has a Hub id, else the merged (or
    full) weights. The weights are the best ones when the evaluation speaks for them, else the last.
    """
    small = not run.recipe.get("model")
    if small and what is not None:
        raise PublishError(
            f"{run.path} trained a small policy, which has one form; leave out --what {what}"
        )
    own = [key for key in ("environment", "policy") if (run.recipe.get(key) or {}).get("fn")]
    if small and own:
        raise PublishError(
            f"{run.path} is of a recipe with {own[0]}.fn, whose code a reader of the Hub does not"
            " have; publish that code and the weights in policy/ by hand"
        )
    _one_of("--what", what, ("adapter", "merged"))
    _one_of("--which", which, ("last", "best"))
    last_or_best, source = _weights(run, which)
    if not source.is_dir():
        state = run.manifest.get("status", "unknown")
        raise PublishError(
            f"{run.path} has no {source.name}/ weights to publish (the run's status: {state})"
        )
    if (clause := run.damage(source)) and facts_of(source):
        raise PublishError(
            f"{source} is not what the run wrote ({clause}); train with --resume, which puts it in"
            " order"
        )
    adapter = (source / "adapter_config.json").is_file()
    trained: Literal["adapter", "full"] = "adapter" if adapter else "full"
    evaluation, measured_on_last = _evidence(run, last_or_best)
    if small:
        return Choice("policy", last_or_best, "full", source, None, evaluation, measured_on_last)
    hub_id = base_hub_id(run)
    form = _form(run, what, trained, hub_id)
    if samples is None:
        samples = all(map(_is_others, tasks_of(run.recipe)))
    return Choice(
        form, last_or_best, trained, source, hub_id, evaluation, measured_on_last, samples
    )


def _weights(run: Run, which: str | None) -> tuple[Which, Path]:
    """The weights that were asked for, else the best where the evaluation speaks for them."""
    best = (run.best_dir / "evaluation.json").is_file() or _same_weights(
        run.best_dir, run.policy_dir
    )
    if which == "best" or (which is None and best):
        return "best", run.best_dir
    return "last", run.policy_dir


def _is_others(task: Record) -> bool:
    """Whether rows come from the Hub, from reasoning-gym or from a program of llmpolicy, and not
    from a file here.
    """
    generator = str(task.get("generator") or "")
    return bool(task.get("hub") or task.get("reasoning_gym") or generator.startswith("llmpolicy."))


def _one_of(option: str, value: str | None, valid: tuple[str, ...]) -> None:
    if value is not None and value not in valid:
        raise PublishError(f"{option} {value!r} is unknown{nearest(value, valid)}")


def _form(run: Run, what: str | None, trained: str, hub_id: str | None) -> What:
    if what == "adapter" and trained == "full":
        raise PublishError(
            f"{run.path} trained full weights, it has no adapter; publish them with --what merged"
        )
    if what == "adapter" and hub_id is None:
        raise PublishError(
            f"{run.path}: nobody could load the adapter, because its base has no model.hub_id;"
            " publish the merged weights instead with --what merged"
        )
    if trained == "adapter" and hub_id is not None and what != "merged":
        return "adapter"
    return "merged"


def _evidence(run: Run, which: Which) -> tuple[dict[str, Any] | None, bool]:
    """The evaluation to show, and whether it was measured on the last weights while others are
    published.
    """
    if which == "best" and (run.best_dir / "evaluation.json").is_file():
        return run.evaluation(of_best=True), False
    return run.evaluation(), which == "best" and not _same_weights(run.best_dir, run.policy_dir)


def _same_weights(best: Path, last: Path) -> bool:
    """Whether two folders hold the same weights, byte for byte."""
    digests = _digests(best)
    return bool(digests) and digests == _digests(last)


def _digests(folder: Path) -> dict[str, bytes]:
    digests = {}
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").digest()
    return digests
