"""What is known of a recipe's speed before its model is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.speed import Conditions, foreseen


def foreseen_ways(
    folder: str | None, settings: Mapping[str, Any] | None, processes: int
) -> dict[str, str]:
    """The ways of generation and update, as far as the configuration in a folder and the settings
    of a ``grpo:`` block decide them; without any they are those of the readable loop.
    """
    if settings is None:
        return foreseen(_config(folder).get("model_type"), Conditions(loop=True))
    config = _config(folder)
    balanced = "output_router_logits" in config and settings.get("router_aux_loss_coef") != 0
    conditions = Conditions(settings, processes=processes, aux_loss=balanced)
    return foreseen(config.get("model_type"), conditions)


def _config(folder: str | None) -> dict[str, Any]:
    """A model's configuration; empty where none lies there to be read."""
    file = Path(folder or "") / "config.json"
    if folder is None or not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # loading says what is wrong with it
        return {}
    return config if isinstance(config, dict) else {}
