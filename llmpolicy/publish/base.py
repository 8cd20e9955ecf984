"""The base that was trained and the rows that it learned from: where they lie, what they are
called, and by which licence they are given.
"""

import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from llmpolicy.bounded import read_json
from llmpolicy.publish.card import tasks_of
from llmpolicy.run import Run
from llmpolicy.run.paths import moved


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
    return path if _cached(path, "config.json", "model") else None


def base_folder(run: Run) -> Path | None:
    """The local folder that the base was loaded from, when it came from one and it is still
    there.
    """
    if run.recipe["model"]["path"] == "bundled":
        from llmpolicy.bundled import MODEL

        return Path(MODEL)
    now, base = moved(run.path.resolve(), run.manifest, run.recipe)
    path, weights = Path(now(run.recipe["model"]["path"])).expanduser(), run.manifest.get("weights")
    for folder in [Path(now(weights))] if weights else [base / path, path]:
        if folder.is_dir():
            return folder
    return None


def base_name(run: Run) -> str:
    """What the base is called on the card, where it has no Hub id."""
    if not run.recipe.get("model"):
        config = read_json(run.policy_dir / "config.json")
        return str(config.get("policy", "small"))
    path = str(run.recipe["model"]["path"])
    return "the model that comes with llmpolicy" if path == "bundled" else Path(path).name


def base_license(run: Run, hub_id: str | None) -> dict[str, str] | None:
    """The license that the base's own card states, when a card of it lies on this machine; else
    unknown.
    """
    if not run.recipe.get("model"):
        return None
    if run.recipe["model"]["path"] == "bundled":
        return {"license": "apache-2.0"}
    folder = base_folder(run)
    stated = _stated(folder / "README.md") if folder else None
    if stated is None and hub_id:
        stated = _stated(_cached(hub_id, "README.md", "model"))
    return stated


def datasets_of(run: Run) -> dict[str, str | None]:
    """The Hub's datasets that the rows came from, with the license that their card states if it
    lies here.
    """
    base = moved(run.path.resolve(), run.manifest, run.recipe)[1]
    licenses = {}
    for task in tasks_of(run.recipe):
        name = str(task.get("hub") or "")
        if re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) and not (base / name).exists():
            stated = _stated(_cached(name, "README.md", "dataset")) or {}
            licenses[name] = stated.get("license")
    return licenses


def _cached(name: str, file: str, kind: str) -> Path | None:
    """A file of the Hub, where it lies in the Hub's cache on this machine."""
    try:
        path = try_to_load_from_cache(name, file, repo_type=kind)
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
    stated = {}
    for key in ("license", "license_name", "license_link"):
        if isinstance(head.get(key), str):
            stated[key] = head[key]
    return stated if "license" in stated else None
