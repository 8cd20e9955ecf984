"""From a run to a folder that is ready to be sent: which weights, in which form, with their card
and evidence.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import ModelCard, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from llmpolicy.errors import PublishError, nearest
from llmpolicy.publish.card import CardFacts, card, tasks_of
from llmpolicy.publish.files import (
    PublishedFile,
    What,
    check,
    copy_plain,
    describe,
    refuse_links,
    stage,
)
from llmpolicy.publish.local import Machine, Told, paths_shortened, portable, this_machine
from llmpolicy.publish.reproduce import Kit, kit
from llmpolicy.publish.texts import no_figure
from llmpolicy.run import Run, broken, facts_of
from llmpolicy.run.contents import content_digest
from llmpolicy.run.paths import below, moved
from llmpolicy.terminal import quiet

Which = Literal["last", "best"]
SCHEMA = 1
READ = ("recipe.yaml", "manifest.json", "evaluation.json", "metrics.jsonl", "best/evaluation.json")
"""The files of a run whose content publishing writes anew."""


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
    evaluation: Mapping[str, Any] | None
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
    _one_of("--what", what, ("adapter", "merged"))
    _one_of("--which", which, ("last", "best"))
    best = (run.best_dir / "evaluation.json").is_file() or _same_weights(
        run.best_dir, run.policy_dir
    )
    weights: Which = "best" if which == "best" or (which is None and best) else "last"
    source = run.best_dir if weights == "best" else run.policy_dir
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
    trained: Literal["adapter", "full"] = (
        "adapter" if (source / "adapter_config.json").is_file() else "full"
    )
    evaluation, measured_on_last = _evidence(run, weights)
    if small:
        return Choice("policy", weights, "full", source, None, evaluation, measured_on_last)
    hub_id = base_hub_id(run)
    form, shown = (
        _form(run, what, trained, hub_id),
        (_are_others(run) if samples is None else samples),
    )
    return Choice(form, weights, trained, source, hub_id, evaluation, measured_on_last, shown)


def _are_others(run: Run) -> bool:
    """Whether all rows come from the Hub, from reasoning-gym or from a program of llmpolicy, and
    none from a file here.
    """
    return all(
        task.get("hub")
        or task.get("reasoning_gym")
        or str(task.get("generator") or "").startswith("llmpolicy.")
        for task in tasks_of(run.recipe)
    )


def build(
    run: Run, choice: Choice, repo: str, folder: Path, told: Told | None = None
) -> tuple[PublishedFile, ...]:
    """Fill an empty folder with all that is published, check every file, and return the list.

    What told of this machine, and is said otherwise now, is counted in ``told``. Raises
    PublishError; the run itself is only read.
    """
    told, machine = told or Told(), _machine(run)
    refuse_links(run.path / name for name in READ)
    if choice.what == "merged" and choice.trained == "adapter":
        with tempfile.TemporaryDirectory(prefix="llmpolicy-merge-") as merged:
            _merge(run, choice.source, Path(merged))
            stage(Path(merged), folder, choice.what)
    else:
        stage(choice.source, folder, choice.what)
        _refuse_other_than_sealed(choice.source, folder)
    if choice.what == "adapter":
        _name_base(
            folder / "adapter_config.json", choice.hub_id, run.recipe["model"].get("revision")
        )
    _make_configs_portable(folder, machine, told)
    sources = _write_evidence(run, choice, repo, folder, machine, told)
    files = describe(folder)
    check(folder, choice.what, machine=machine, sources=sources)
    if describe(folder) != files:
        raise PublishError(
            f"{folder} changed while it was checked; publish again when nothing writes there"
        )
    return files


def _write_evidence(
    run: Run, choice: Choice, repo: str, folder: Path, machine: Machine, told: Told
) -> Collection[str]:
    """The four files that publishing writes itself, of which nothing tells of this machine; returns
    the sources beside them.
    """
    things = kit(run, _rows_counted(_as_loaded(run)), choice.hub_id, machine)
    for name, source in things.sources.items():
        copy_plain(source, folder / name)
    recipe = _for_others("recipe.yaml", things.recipe, machine, told)
    of_here = ("base_dir", "base_dir_from_run", "weights")
    noted = {key: value for key, value in run.manifest.items() if key not in of_here}
    manifest = _for_others("llmpolicy_manifest.json", noted, machine, told)
    if choice.evaluation is not None:
        evaluation = _for_others(
            "evaluation.json", _without_examples(choice.evaluation), machine, told
        )
        _write_json(folder / "evaluation.json", evaluation)
        shown = choice.evaluation if choice.samples else evaluation
        choice = replace(choice, evaluation=_for_others("README.md", shown, machine, told))
    _write_text(folder / "README.md", card(_facts(run, choice, repo, recipe, manifest, things)))
    _write_text(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    _write_json(
        folder / "llmpolicy_manifest.json",
        _manifest(recipe.get("model") or {}, choice, manifest, describe(folder)),
    )
    return things.sources.keys()


def _machine(run: Run) -> Machine:
    """This machine, and the folders that the run has noted of the one it was trained on."""
    noted = [run.manifest.get(key) for key in ("base_dir", "weights")] + [
        (run.recipe.get("model") or {}).get("path")
    ]
    own = [run.path.resolve(), base_folder(run) if run.recipe.get("model") else None]
    return this_machine([*own, *(path for path in noted if path and os.path.isabs(path))])


def _for_others(file: str, content: Any, machine: Machine, told: Told) -> Any:
    told.file = file
    return portable(content, machine, told)


def _make_configs_portable(folder: Path, machine: Machine, told: Told) -> None:
    """A path that is the whole value of a setting beside the weights is a note of no use elsewhere:
    its last name stays.
    """
    for path in sorted(folder.glob("*config.json")):
        content, told.file = json.loads(path.read_text(encoding="utf-8")), path.name
        shorter = paths_shortened(content, machine, told)
        if shorter != content:
            _write_text(path, json.dumps(shorter, indent=2, ensure_ascii=False) + "\n")


def _refuse_other_than_sealed(source: Path, folder: Path) -> None:
    """What was copied is what the run had sealed, also where a file changed between the check of
    the seal and the copy.
    """
    sealed = facts_of(source).get("files") or {}
    for file in describe(folder):
        if file.name in sealed and sealed[file.name].get("sha256") != file.sha256:
            raise PublishError(
                f"{source / file.name} changed while it was read; publish again when nothing writes"
                " there"
            )


def base_hub_id(run: Run) -> str | None:
    """The Hub id of the base: as written, or the path itself when it was loaded from the Hub; None
    when unknown.
    """
    model = run.recipe["model"]
    if model.get("hub_id"):
        return str(model["hub_id"])
    path = str(model["path"])
    if base_folder(run) is not None:
        return None
    # A path such as models/SmolLM2 looks like a Hub id; only what lies in the Hub's cache proves
    # that it was one.
    try:
        return path if isinstance(try_to_load_from_cache(path, "config.json"), str) else None
    except HFValidationError:
        return None


def base_folder(run: Run) -> Path | None:
    """The local folder that the base was loaded from, when it came from one and it is still
    there.
    """
    if run.recipe["model"]["path"] == "bundled":
        from llmpolicy.bundled import MODEL

        return Path(MODEL)
    now, base = moved(run.path.resolve(), run.manifest, run.recipe)
    path, weights = Path(now(run.recipe["model"]["path"])).expanduser(), run.manifest.get("weights")
    loaded = [Path(now(weights))] if weights else [base / path, path]
    return next((folder for folder in loaded if folder.is_dir()), None)


def _as_loaded(run: Run) -> dict[str, Any]:
    """The recipe, without its note on a local folder where the Hub's weights were loaded in its
    place.
    """
    if not run.recipe.get("model"):
        return dict(run.recipe)
    model = dict(run.recipe["model"])
    if run.manifest.get("weights") == model.get("hub_id") != model["path"]:
        model["note"] = None
    return {**run.recipe, "model": model}


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
    return (
        "adapter" if trained == "adapter" and hub_id is not None and what != "merged" else "merged"
    )


def _evidence(run: Run, which: Which) -> tuple[dict[str, Any] | None, bool]:
    """The evaluation to show, and whether it was measured on the last weights while others are
    published.
    """
    own = run.best_dir / "evaluation.json"
    if which == "best" and own.is_file():
        return run.evaluation(of_best=True), False
    return run.evaluation(), which == "best" and not _same_weights(run.best_dir, run.policy_dir)


def _same_weights(first: Path, second: Path) -> bool:
    """Whether two folders hold the same weights, byte for byte."""
    if not first.is_dir() or not second.is_dir():
        return False
    names = [{path.name for path in folder.glob("*.safetensors")} for folder in (first, second)]
    return (
        bool(names[0])
        and names[0] == names[1]
        and all(_digest(first / n) == _digest(second / n) for n in names[0])
    )


def _merge(run: Run, adapter: Path, folder: Path) -> None:
    """Write the base with the adapter folded in; the one step of publishing that loads a model."""
    from llmpolicy.policies.causal_lm import CausalLMPolicy

    quiet()
    model, loaded = run.recipe["model"], run.manifest.get("weights")
    base = base_folder(run) or below(loaded or model.get("hub_id") or model["path"], run.path)
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise PublishError(
            f"{run.path} was trained on {base}, which is gone; expected it there to merge the"
            " adapter"
        )
    _refuse_another_base(run, Path(base))
    if model.get("trust_remote_code") and not run.remote_code:
        code = ", ".join(sorted(file.name for file in Path(base).glob("*.py"))) or "from the Hub"
        raise PublishError(
            f"{run.path} was trained with code that comes with {base} ({code}), and merging runs"
            " it: read it, then give --trust-remote-code"
        )
    policy = CausalLMPolicy.load(
        base,
        adapter=adapter,
        hub_id=model.get("hub_id"),
        revision=model.get("revision"),
        dtype=model.get("dtype"),
        trust_remote_code=run.remote_code,
        stop=model.get("stop") or (),
    )
    policy.merge().save(folder)


def _refuse_another_base(run: Run, base: Path) -> None:
    """An adapter is only folded into the weights that it was trained on."""
    if clause := broken(base):
        raise PublishError(
            f"{base}, the base of the adapter, is damaged ({clause}); bring back what was written"
        )
    for item in run.manifest.get("files") or []:
        file = base / item["file"]
        if item["for"] == "model" and not (
            file.is_file() and content_digest(file) == item["sha256"]
        ):
            raise PublishError(
                f"{file} is not what {run.path} was trained on; bring the base back to merge the"
                " adapter into it"
            )


def _name_base(config: Path, hub_id: str | None, revision: str | None) -> None:
    """Let the adapter name its base as others can find it: never a folder of the machine it was
    trained on.
    """
    content = json.loads(config.read_text(encoding="utf-8"))
    _write_json(config, {**content, "base_model_name_or_path": hub_id, "revision": revision})


def _facts(
    run: Run,
    choice: Choice,
    repo: str,
    recipe: dict[str, Any],
    manifest: dict[str, Any],
    things: Kit,
) -> CardFacts:
    return CardFacts(
        repo=repo,
        what=choice.what,
        which=choice.which,
        trained=choice.trained,
        recipe=recipe,
        manifest=manifest,
        evaluation=choice.evaluation,
        base=choice.hub_id or _base_name(run),
        hub_id=choice.hub_id,
        measured_on_last=choice.measured_on_last,
        license=_license(run, choice.hub_id),
        datasets=_datasets(run),
        train=run.metrics("train"),
        looks=run.metrics("eval"),
        sources=tuple(things.sources),
        missing=things.missing,
    )


def _base_name(run: Run) -> str:
    if not run.recipe.get("model"):
        config = json.loads((run.policy_dir / "config.json").read_text(encoding="utf-8"))
        return str(config.get("policy", "small"))
    path = str(run.recipe["model"]["path"])
    return "the model that comes with llmpolicy" if path == "bundled" else Path(path).name


def _license(run: Run, hub_id: str | None) -> dict[str, str] | None:
    """The license that the base's own card states, when a card of it lies on this machine; else
    unknown.
    """
    if not run.recipe.get("model"):
        return None
    if run.recipe["model"]["path"] == "bundled":
        return {"license": "apache-2.0"}
    folder = base_folder(run)
    cards = [
        folder / "README.md" if folder else None,
        _cached_card(hub_id, "model") if hub_id else None,
    ]
    return next((stated for path in cards if path and (stated := _stated(path))), None)


def _datasets(run: Run) -> dict[str, str | None]:
    """The Hub's datasets that the rows came from, with the license that their card states if it
    lies here.
    """
    base = moved(run.path.resolve(), run.manifest, run.recipe)[1]
    names = [str(task["hub"]) for task in tasks_of(run.recipe) if task.get("hub")]
    of_hub = [
        name
        for name in names
        if re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) and not (base / name).exists()
    ]
    return {name: (_stated(_cached_card(name, "dataset")) or {}).get("license") for name in of_hub}


def _cached_card(name: str, kind: str) -> Path | None:
    try:
        path = try_to_load_from_cache(name, "README.md", repo_type=kind)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def _stated(path: Path | None) -> dict[str, str] | None:
    """The license in the head of a card, with its name and address when it is none of the Hub's
    list.
    """
    if path is None or not path.is_file():
        return None
    try:
        head = ModelCard.load(path, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, yaml.YAMLError):
        return None
    keys = ("license", "license_name", "license_link")
    known = {key: head[key] for key in keys if isinstance(head.get(key), str)}
    return known if "license" in known else None


def _manifest(
    model: dict[str, Any],
    choice: Choice,
    manifest: dict[str, Any],
    files: tuple[PublishedFile, ...],
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "what": choice.what,
        "which": choice.which,
        "trained": choice.trained,
        "base": {
            "hub_id": choice.hub_id,
            "revision": model.get("revision"),
            "note": model.get("note"),
        },
        "run": manifest,
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in files},
    }


def _without_examples(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation's figures; prompts and completions stay on this machine."""
    kept = {key: value for key, value in evaluation.items() if key != "examples"}
    return {**kept, "base": _without_examples(kept["base"])} if kept.get("base") else kept


def _rows_counted(recipe: Any, key: str = "") -> Any:
    """The recipe with the number of rows in the place of rows that were given in Python."""
    if isinstance(recipe, list):
        return (
            f"{len(recipe)} rows given in Python"
            if key == "rows"
            else [_rows_counted(item) for item in recipe]
        )
    if isinstance(recipe, Mapping):
        return {name: _rows_counted(value, str(name)) for name, value in recipe.items()}
    return recipe


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    if key := no_figure(content):
        raise PublishError(
            f"{path.name}: {key} is NaN or infinite, which is no figure; it is not published"
        )
    _write_text(
        path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    )
