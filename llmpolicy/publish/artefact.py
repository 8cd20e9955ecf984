"""From a run to a folder that is ready to be sent: which weights, in which form, with their card
and evidence.
"""

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.bounded import read_json
from llmpolicy.errors import PublishError
from llmpolicy.publish.base import base_folder, base_license, base_name, datasets_of
from llmpolicy.publish.card import CardFacts, card
from llmpolicy.publish.choice import Choice
from llmpolicy.publish.files import (
    Files,
    check_folder,
    copy_plain,
    describe,
    refuse_links,
    stage,
)
from llmpolicy.publish.local import Machine, Replaced, paths_shortened, portable, this_machine
from llmpolicy.publish.reproduce import Kit, kit_of
from llmpolicy.publish.shown import Data, Record
from llmpolicy.publish.texts import no_figure
from llmpolicy.run import Run, broken, facts_of
from llmpolicy.run.paths import below
from llmpolicy.run.sealed import content_digest
from llmpolicy.terminal import quiet

SCHEMA = 1
READ = ("recipe.yaml", "manifest.json", "evaluation.json", "metrics.jsonl", "best/evaluation.json")
"""The files of a run whose content publishing writes anew."""


def build(
    run: Run, choice: Choice, repo: str, folder: Path, replaced: Replaced | None = None
) -> Files:
    """Fill an empty folder with all that is published, check every file, and return the list.

    What told of this machine, and is said otherwise now, is counted in ``replaced``. Raises
    PublishError; the run itself is only read.
    """
    replaced = replaced or Replaced(machine_of(run))
    refuse_links(run.path / name for name in READ)
    if choice.what == "merged" and choice.trained == "adapter":
        with tempfile.TemporaryDirectory(prefix="llmpolicy-merge-") as merged:
            _merge(run, choice.source, Path(merged))
            stage(Path(merged), folder, choice.what)
    else:
        stage(choice.source, folder, choice.what)
        _refuse_other_than_sealed(choice.source, folder)
    if choice.what == "adapter":
        # The base as others can find it: never a folder of the machine it was trained on.
        base = {"base_model_name_or_path": choice.hub_id}
        base["revision"] = run.recipe["model"].get("revision")
        config = folder / "adapter_config.json"
        _write_json(config, {**read_json(config), **base})
    _make_configs_portable(folder, replaced)
    sources = _write_evidence(run, choice, repo, folder, replaced)
    files = describe(folder)
    check_folder(folder, choice.what, machine=replaced.machine, sources=sources)
    if describe(folder) != files:
        raise PublishError(
            f"{folder} changed while it was checked; publish again when nothing writes there"
        )
    return files


def _write_evidence(
    run: Run, choice: Choice, repo: str, folder: Path, replaced: Replaced
) -> Collection[str]:
    """The four files that publishing writes itself, of which nothing tells of this machine; returns
    the sources beside them.
    """
    kit = kit_of(run, _rows_counted(_as_loaded(run)), choice.hub_id, replaced.machine)
    for name, source in kit.sources.items():
        copy_plain(source, folder / name)
    recipe = _for_others("recipe.yaml", kit.recipe, replaced)
    of_here = ("base_dir", "base_dir_from_run", "weights")
    noted = {key: value for key, value in run.manifest.items() if key not in of_here}
    manifest = _for_others("llmpolicy_manifest.json", noted, replaced)
    if choice.evaluation is not None:
        evaluation = _without_examples(choice.evaluation)
        evaluation = _for_others("evaluation.json", evaluation, replaced)
        _write_json(folder / "evaluation.json", evaluation)
        shown = choice.evaluation if choice.samples else evaluation
        choice = replace(choice, evaluation=_for_others("README.md", shown, replaced))
    _write_text(folder / "README.md", card(_facts(run, choice, repo, recipe, manifest, kit)))
    _write_text(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    _write_json(
        folder / "llmpolicy_manifest.json",
        _manifest(recipe.get("model") or {}, choice, manifest, describe(folder)),
    )
    return kit.sources.keys()


def machine_of(run: Run) -> Machine:
    """This machine, and the folders that the run has noted of the one it was trained on."""
    model = run.recipe.get("model") or {}
    folders: list[Path | str | None] = [run.path.resolve()]
    if model:
        folders.append(base_folder(run))
    for path in (run.manifest.get("base_dir"), run.manifest.get("weights"), model.get("path")):
        if path and os.path.isabs(path):
            folders.append(path)
    return this_machine(folders)


def _for_others(file: str, content: Any, replaced: Replaced) -> Any:
    replaced.file = file
    return portable(content, replaced)


def _make_configs_portable(folder: Path, replaced: Replaced) -> None:
    """A path that is the whole value of a setting beside the weights is a note of no use elsewhere:
    its last name stays.
    """
    for path in sorted(folder.glob("*config.json")):
        content, replaced.file = read_json(path), path.name
        shorter = paths_shortened(content, replaced)
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


def _as_loaded(run: Run) -> Data:
    """The recipe, without its note on a local folder where the Hub's weights were loaded in its
    place.
    """
    if not run.recipe.get("model"):
        return dict(run.recipe)
    model = dict(run.recipe["model"])
    if run.manifest.get("weights") == model.get("hub_id") != model["path"]:
        model["note"] = None
    return {**run.recipe, "model": model}


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
        same = file.is_file() and content_digest(file) == item["sha256"]
        if item["for"] == "model" and not same:
            raise PublishError(
                f"{file} is not what {run.path} was trained on; bring the base back to merge the"
                " adapter into it"
            )


def _facts(
    run: Run,
    choice: Choice,
    repo: str,
    recipe: Data,
    manifest: Data,
    kit: Kit,
) -> CardFacts:
    return CardFacts(
        repo=repo,
        what=choice.what,
        which=choice.which,
        trained=choice.trained,
        recipe=recipe,
        manifest=manifest,
        evaluation=choice.evaluation,
        base=choice.hub_id or base_name(run),
        hub_id=choice.hub_id,
        measured_on_last=choice.measured_on_last,
        license=base_license(run, choice.hub_id),
        datasets=datasets_of(run),
        train=run.metrics("train"),
        looks=run.metrics("eval"),
        sources=tuple(kit.sources),
        missing=kit.missing,
    )


def _manifest(
    model: Data,
    choice: Choice,
    manifest: Data,
    files: Files,
) -> Data:
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


def _without_examples(evaluation: Record) -> Data:
    """The evaluation's figures; prompts and completions stay on this machine."""
    kept = dict(evaluation)
    kept.pop("examples", None)
    if kept.get("base"):
        kept["base"] = _without_examples(kept["base"])
    return kept


def _rows_counted(recipe: Any, key: str = "") -> Any:
    """The recipe with the number of rows in the place of rows that were given in Python."""
    if isinstance(recipe, list) and key == "rows":
        return f"{len(recipe)} rows given in Python"
    if isinstance(recipe, list):
        return list(map(_rows_counted, recipe))
    if isinstance(recipe, Mapping):
        return {name: _rows_counted(value, str(name)) for name, value in recipe.items()}
    return recipe


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_json(path: Path, content: Record) -> None:
    if key := no_figure(content):
        raise PublishError(
            f"{path.name}: {key} is NaN or infinite, which is no figure; it is not published"
        )
    _write_text(
        path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    )
