"""What lies in a folder that is named as a model or an adapter, and what a Hub id of one part
means; no torch here.
"""

from pathlib import Path

from llmpolicy.errors import PolicyError

OWNERS = {
    "gpt2": "openai-community", "distilgpt2": "distilbert", "openai-gpt": "openai-community",
    "qwen": "Qwen",
    "smollm": "HuggingFaceTB", "llama-": "meta-llama", "meta-llama": "meta-llama",
    "gemma": "google", "phi": "microsoft",
    "mistral": "mistralai", "mixtral": "mistralai", "ministral": "mistralai",
    "pythia": "EleutherAI",
    "gpt-neo": "EleutherAI", "gpt-j": "EleutherAI", "opt-": "facebook", "tinyllama": "TinyLlama",
    "olmo": "allenai",
    "bloom": "bigscience", "falcon": "tiiuae", "deepseek": "deepseek-ai", "gpt-oss": "openai",
    "granite": "ibm-granite",
    "lfm2": "LiquidAI", "stablelm": "stabilityai",
}  # fmt: skip
"""Whose models on the Hub begin with a name."""


def hub_hint(path: str) -> str:
    """A clause with the whole Hub id of a well-known model of which only the second part was
    written, else an empty text.
    """
    for start, owner in OWNERS.items():
        if path.lower().startswith(start) and "/" not in path:
            return f"; did you mean '{owner}/{path}'?"
    return ""


def model_folder(folder: str) -> str:
    """A folder that is named as a model; raises PolicyError for a run or an adapter, with what to
    write instead.
    """
    _refuse_run(folder, "a model")
    if _has(folder, "adapter_config.json") and not _has(folder, "config.json"):
        raise PolicyError(
            f"{folder} is an adapter, not a model; write model.path as its base and model.adapter:"
            f" {folder}"
        )
    return folder


def adapter_folder(folder: str | None) -> str | None:
    """A folder, or Hub id, that is named as an adapter; raises PolicyError for a run or whole
    weights.
    """
    if folder is None:
        return None
    _refuse_run(folder, "an adapter")
    if _has(folder, "config.json") and not _has(folder, "adapter_config.json"):
        raise PolicyError(f"{folder} is a whole model, not an adapter; write model.path: {folder}")
    return folder


def _has(folder: str, name: str) -> bool:
    return (Path(folder) / name).is_file()


def _refuse_run(folder: str, expected: str) -> None:
    if not (_has(folder, "manifest.json") and _has(folder, "recipe.yaml")):
        return
    weights = filter(Path.is_dir, (Path(folder) / "policy", Path(folder) / "best"))
    instead = f"what it trained is {' or '.join(map(str, weights))}"
    if instead.endswith(" is "):
        instead = "it has no policy/ yet"
    raise PolicyError(f"{folder} is a run, not {expected}; {instead}")
