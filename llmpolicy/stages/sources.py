"""What a run was made from, by content: files of rewards and tasks, rows, local weights; a change
is refused, or accepted.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from llmpolicy.errors import PolicyError, RewardError, RunError
from llmpolicy.plan import Plan, loaded_adapter, loaded_weights
from llmpolicy.provenance.code import UNKNOWN, code_facts
from llmpolicy.provenance.files import files_of, named_files
from llmpolicy.recipe import Recipe
from llmpolicy.reference import SHIPPED, name_of
from llmpolicy.run import Run, broken
from llmpolicy.run.files import Record
from llmpolicy.run.paths import from_run
from llmpolicy.run.sealed import WEIGHTS, Facts, content_digest
from llmpolicy.tasks import Row, TaskSpec
from llmpolicy.tasks.sources import find_file
from llmpolicy.terminal import Say

ACCEPT = "--accept-changes"
Files = list[dict[str, str]]

NamedFiles = Iterable[tuple[str, str, Path]]
"""Files with what they are for and what they are called."""

WEIGHED = ("model", "adapter")
"""What a policy is loaded from."""

LEARNT_FROM = ("demonstrations", "preferences")
"""The blocks of a recipe that its stages learn from."""


def source_facts(plan: Plan, *, weights: bool = True) -> Record:
    """For the manifest: ``files`` with the sha256 of each, and the sha256 of the rows and of the
    held-out questions.
    """
    recipe = plan.recipe
    pairs = list(_reward_files(recipe))
    for task in recipe.every_task:
        pairs += _spec_files("data", task, recipe)
    if weights:
        pairs += weight_files(recipe)
    files = [*_listed(pairs, recipe), *_code(recipe)]
    return {"files": files, "rows": row_facts(plan.train_rows, plan.held_out)}


def _listed(pairs: NamedFiles, recipe: Recipe) -> Files:
    files = {}
    for role, name, path in pairs:
        files[_seen(role, recipe), _seen(name, recipe)] = path
    listed = []
    for (role, name), path in files.items():
        listed.append({"for": role, "file": name, "sha256": content_digest(path)})
    return listed


def _seen(name: str, recipe: Recipe) -> str:
    """A name, or a function by its file, as seen from the run and from the folder of the recipe,
    which both may move.
    """
    home = (recipe.base_dir or Path()).resolve()
    return str(recipe.portable(name, named=True)).removeprefix(f"{home}/")


def stage_files(recipe: Recipe) -> Files:
    """The files that the stages before GRPO learn from, with the sha256 of each, for the
    manifest.
    """
    pairs = []
    for kind in LEARNT_FROM:
        if (spec := getattr(recipe, kind)) is not None:
            for _, name, path in _spec_files(kind, spec, recipe):
                pairs.append((kind, name, path))
    return _listed(pairs, recipe)


def function_files(recipe: Recipe) -> Files:
    """The files of the functions that a recipe is carried out with, with the sha256 of each, and
    what they are beside their files.
    """
    return [*_listed(_reward_files(recipe), recipe), *_code(recipe)]


def files_of_stages(run: Run) -> Files:
    """The same as a run has noted them, for one that goes on by the recipe that its stages are no
    part of.
    """
    return [item for item in run.manifest.get("files") or [] if item["for"] in LEARNT_FROM]


def refuse_damaged_arguments(recipe: Recipe, *, besides: Path | None = None) -> None:
    """Refuse a sealed folder in a reward's arguments, such as a reward model, that is not what was
    written.

    What lies in ``besides`` may be made anew. Raises RewardError.
    """
    for fn, args in _asked(recipe):
        for path in named_files(dict(args), recipe.base_dir):
            if besides and path.is_relative_to(besides.resolve()):
                continue
            if clause := broken(path):
                raise RewardError(
                    f"{name_of(fn)}: {path} is damaged ({clause}); bring back what was written, or"
                    " make it anew"
                )


def refuse_other_base(adapter: Path, base: str | None) -> None:
    """Refuse an adapter that a run trained on other weights than those it is put on, which may bear
    the same name.

    Raises PolicyError.
    """
    if base is None or not Path(base).is_dir():
        return
    home = next((home for home in adapter.parents[:2] if (home / "manifest.json").is_file()), None)
    files = Run.open(home).manifest.get("files") if home else None
    for item in files or []:
        file = Path(base) / item["file"]
        same = file.is_file() and content_digest(file) == item["sha256"]
        if item["for"] == "model" and not same:
            raise PolicyError(
                f"{adapter} was trained by the run {home} on another base than {base}"
                f" ({item['file']} differs); expected its own"
            )


def unknown_lines(recipe: Recipe) -> Iterator[str]:
    """What is known of no function's values, and so cannot be compared when a run goes on, in
    words.
    """
    for item in _code(recipe):
        if item["sha256"].startswith(UNKNOWN):
            kinds = item["sha256"].removeprefix(f"{UNKNOWN}: ")
            yield (
                f"note: {item['for']} holds {kinds}, whose content is unknown: a change of it is"
                " not seen when the run goes on"
            )


def _code(recipe: Recipe) -> Files:
    """The code and bound values of functions that are given as such; those of one name count as
    one.
    """
    digests: dict[tuple[str, str], list[str]] = {}
    for fn, _ in _asked(recipe):
        if callable(fn):
            for name, sha256 in code_facts(fn).items():
                digests.setdefault((name_of(fn), name), []).append(sha256)
    listed = []
    for (role, name), alike in digests.items():
        sha256 = alike[0] if len(alike) == 1 else digest(alike)
        listed.append({"for": role, "file": f"the {name}", "sha256": sha256})
    return listed


def row_facts(train: Sequence[Row], held_out: Sequence[Row]) -> Record:
    """How many rows there are, and a sha256 of their content, in their order."""
    questions = sorted({row.question for row in held_out})
    return {
        "train": {"n": len(train), "sha256": digest(map(_plain, train))},
        "held_out": {"n": len(held_out), "sha256": digest(map(_plain, held_out))},
        "held_out_questions": digest(questions),
    }


def refuse_changes(
    run: Run, now: Facts, *, accept: bool, say: Say, weights: bool = True
) -> list[str]:
    """Compare what a run was made from with what lies there; the changes that were accepted.

    Without ``weights`` they are in memory already, and no folder of theirs is looked for. Raises
    RunError in one sentence for a change that was not accepted, and for other held-out questions in
    any case.
    """
    before = run.manifest
    changed = _changed_files(_before(run), now["files"], always=WEIGHED if weights else ())
    old, new = before.get("rows") or {}, now["rows"]
    parts = [name for name in ("train", "held_out") if old and old.get(name) != new[name]]
    if parts and not any(line.startswith("data ") for line in changed):
        changed.append(f"the {' and '.join(parts).replace('_', '-')} rows")
    changed = _beyond_an_upgrade(run, changed, say)
    if not changed:
        return []
    named = ", ".join(changed[:3])
    if len(changed) > 3:
        named += f" and {len(changed) - 3} more"
    if old and old["held_out_questions"] != new["held_out_questions"]:
        raise RunError(
            f"{run.path} was made with other content of {named}, and by the new one other questions"
            " would be held out, some of them trained on: bring it back, or start a new run"
        )
    if not accept:
        raise RunError(
            f"{run.path} was made with other content of {named}: bring it back, start a new run, or"
            f" give {ACCEPT} to take it as it is now"
        )
    say(f"note: accepted as changed since the run began: {named}")
    return changed


def _before(run: Run) -> Files:
    """What a run noted, as it is named today: earlier versions wrote paths below the recipe's
    folder and the run in full.
    """
    home = f"{run.manifest.get('base_dir')}/"

    def seen(name: str) -> str:
        return from_run(name, run.path.resolve()).removeprefix(home)

    files = []
    for item in run.manifest.get("files") or []:
        files.append({**item, "for": seen(item["for"]), "file": seen(item["file"])})
    return files


def _changed_files(before: Files, now: Files, *, always: Collection[str] = ()) -> list[str]:
    """The files that differ, of what both recipes name: another reward by another name is the
    recipe's own change.

    A file of the same name and content in another folder is the same one, moved. What is ``always``
    named is missed.
    """
    was, new = _digests(before), _digests(now)
    roles = {role for role, _ in new} | set(always)
    contents = {(role, Path(name).name, new[role, name]) for role, name in new}
    changed = []
    for (role, name), sha256 in was.items():
        moved = (role, name) not in new and (role, Path(name).name, sha256) in contents
        if role in roles and new.get((role, name)) != sha256 and not moved:
            by_role = role in ("data", *WEIGHED, *LEARNT_FROM)
            changed.append(f"{role} {name}" if by_role else f"{name} (of {role})")
    return changed


def _digests(files: Files) -> dict[tuple[str, str], str]:
    return {(item["for"], item["file"]): item["sha256"] for item in files}


def _beyond_an_upgrade(run: Run, changed: list[str], say: Say) -> list[str]:
    """The changes that are not those of the shipped rewards between two versions of the package,
    which are only said.
    """
    before = (run.manifest.get("versions") or {}).get("llmpolicy")
    now = metadata.version("llmpolicy")
    shipped = [line for line in changed if line.startswith(f"{SHIPPED.name}/")]
    if before == now or not shipped:
        return changed
    say(
        f"note: the run was made with llmpolicy {before}, this is {now}, and they differ in"
        f" {', '.join(shipped)}"
    )
    return [line for line in changed if line not in shipped]


def _asked(recipe: Recipe) -> Iterator[tuple[Any, Facts]]:
    """The functions of the reward, the one that says what is right, and those that the recipe is
    carried out with, with their arguments.
    """
    for block in recipe.reward_functions:
        yield block.fn, block.args
    for block in recipe.verifiers:
        yield block.fn, block.args
    for _, fn, args in recipe.functions:
        yield fn, args


def _reward_files(recipe: Recipe) -> NamedFiles:
    for fn, args in _asked(recipe):
        yield from _function_files(fn, args, recipe)


def _function_files(fn: Any, args: Facts, recipe: Recipe) -> NamedFiles:
    role = name_of(fn)
    for path in files_of(fn, recipe.base_dir):
        yield role, _short(path), path
    for named in named_files(dict(args), recipe.base_dir):
        for path in _within(named):
            yield f"{role}'s arguments", _short(path), path


def _spec_files(kind: str, spec: TaskSpec, recipe: Recipe) -> NamedFiles:
    if spec.file is not None:
        yield kind, spec.file, find_file(spec.file, recipe.base_dir)
    for fn, args in ((spec.generator, spec.args), (spec.canonical, {})):
        if callable(fn) or (fn and ":" in fn):
            yield from _function_files(fn, args, recipe)


def weight_files(recipe: Recipe) -> NamedFiles:
    """The files of a model or adapter that lies in a folder; what comes from the Hub is named by
    its revision.
    """
    folders = {"model": loaded_weights(recipe), "adapter": loaded_adapter(recipe)}
    for role, folder in folders.items():
        if folder is not None and Path(folder).is_dir():
            for path in _loaded(Path(folder)):
                yield role, path.relative_to(folder).as_posix(), path


def _loaded(folder: Path) -> list[Path]:
    """What loading reads of a model's folder: no pages, no weights in formats beside safetensors,
    no runs that lie there.
    """
    read: list[Path] = []
    beside: list[Path] = []
    for path in _within(folder):
        below = path.parent.name == "additional_chat_templates" or path.suffix == ".py"
        if path.suffix == ".md" or not (below or path.parent == folder):
            continue
        (beside if path.suffix in WEIGHTS[1:] else read).append(path)
    has_safetensors = any(path.suffix == WEIGHTS[0] for path in read)
    return read if has_safetensors else sorted(read + beside)


def _within(folder: Path) -> list[Path]:
    """The files below a folder but hidden ones, or the file itself."""
    if folder.is_file():
        return [folder]
    files = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            files.append(path)
    return files


def _short(path: Path) -> str:
    """The whole path, but of a reward that comes with the package."""
    if path.is_relative_to(SHIPPED):
        return f"{SHIPPED.name}/{path.relative_to(SHIPPED).as_posix()}"
    return str(path)


def _plain(row: Row) -> list[Any]:
    return [row.prompt, row.question, row.task, dict(row.columns)]


def digest(items: Iterable[Any]) -> str:
    """The sha256 of plain data, in its order."""
    hashed = hashlib.sha256()
    for item in items:
        text = json.dumps(item, sort_keys=True, default=lambda value: type(value).__name__)
        hashed.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return hashed.hexdigest()
