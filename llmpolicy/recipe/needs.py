"""The packages that a setting needs and an installation may lack, looked up without importing
them.
"""

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.recipe.blocks import Recipe, written_at
from llmpolicy.recipe.stages import Grpo, PreferenceModel, Settings, WarmStart, stages_of

FLAGS = {"use_vllm": "vllm", "use_liger_kernel": "liger_kernel", "deepspeed": "deepspeed"}
"""The package of a setting that is switched on."""

OPTIMISERS = {
    r"adamw_torch_[48]bit": "torchao", r"adamw_torch_xla": "torch_xla",
    r"adamw_torch_npu_fused": "torch_npu",
    r"galore_.*": "galore_torch", r"apollo_.*": "apollo_torch", r"(ada)?lomo": "lomo_optim",
    r"grokadamw": "grokadamw",
    r"schedule_free_.*": "schedulefree", r"stable_adamw": "optimi",
    r"adamw_anyprecision": "torchdistx",
    r"(paged_|lion_|ademamix|adamw_).*|rmsprop_.*": "bitsandbytes",
}  # fmt: skip
"""The package of an optimiser, by the first pattern that its name fits; the other ones are
torch's.
"""
TORCH_OPTIMISERS = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop")

TRACKERS: dict[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",), "clearml": ("clearml",), "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub", "mlflow"), "dvclive": ("dvclive",), "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",), "neptune": ("neptune",), "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",), "wandb": ("wandb",),
}  # fmt: skip
"""The packages of each experiment tracker of transformers; a test compares the names with the
installed ones.
"""

_INSTALL = {
    "liger_kernel": "liger-kernel", "galore_torch": "galore-torch", "apollo_torch": "apollo-torch",
    "lomo_optim": "lomo-optim", "optimi": "torch-optimi", "azureml": "azureml-core",
}  # fmt: skip
_EXTRAS = {"vllm": "vllm", "bitsandbytes": "quantization", "trackio": "trackio"}
_STANDS_IN = {"tensorboard": "tensorboardX", "neptune": "neptune_scale"}


def check_packages(recipe: Recipe) -> None:
    """Refuse what a recipe asks for and this installation lacks, before a model is loaded; raises
    RecipeError.
    """
    for sentence in missing_packages(recipe):
        raise RecipeError(sentence)


def missing_packages(recipe: Recipe) -> Iterator[str]:
    """A sentence for each setting of a recipe whose package is not installed; RecipeError for an
    unknown tracker.
    """
    quantize = recipe.model.quantize if recipe.model else None
    if quantize and not _is_installed("bitsandbytes"):
        yield _sentence("model.quantize", quantize, "bitsandbytes", recipe)
    for stage in stages_of(recipe):
        if isinstance(stage, WarmStart | PreferenceModel | Grpo):
            for key, value, package in _wanted(stage.settings, f"{stage.name}.", recipe):
                if not _is_installed(package):
                    yield _sentence(f"{stage.name}.{key}", value, package, recipe)


def trackers(report_to: Any) -> list[str]:
    """The experiment trackers that ``report_to`` asks for."""
    asked = [report_to] if isinstance(report_to, str) else list(report_to or [])
    return [] if asked == ["none"] else asked


def _wanted(settings: Settings, start: str, recipe: Recipe) -> Iterator[tuple[str, Any, str]]:
    """Each setting that needs a package, its value, and the package."""
    for key, package in FLAGS.items():
        if settings.get(key):
            yield key, settings[key], package
    optimiser = str(settings.get("optim") or "adamw_torch")
    for form, package in OPTIMISERS.items():
        if optimiser not in TORCH_OPTIMISERS and re.fullmatch(form, optimiser):
            yield "optim", optimiser, package
            break
    for name in trackers(settings.get("report_to")):
        if name not in TRACKERS and name != "all":
            where = written_at(f"{start}report_to", recipe.origin)
            raise RecipeError(
                f"{where}{start}report_to: no tracker {name!r}{nearest(name, TRACKERS)}"
            )
        for package in TRACKERS.get(name, ()):
            yield "report_to", name, package


def _is_installed(package: str) -> bool:
    return any(map(importlib.util.find_spec, {package, _STANDS_IN.get(package, package)}))


def _sentence(key: str, value: Any, package: str, recipe: Recipe) -> str:
    shown = "true" if value is True else f"{value!s:.60}"
    install = f"pip install {_INSTALL.get(package, package)}"
    if package in _EXTRAS:
        install = f'pip install ".[{_EXTRAS[package]}]" in the checkout, or {install}'
    return (
        f"{written_at(key, recipe.origin)}{key}: {shown} needs the package"
        f" {package.replace('_', '-')}, which is not installed; install it ({install}) or remove"
        " the setting"
    )
