"""The run directory: the only room that knows where a run keeps what it did. Torch-free; everything
else reads through it.

A run holds, each with ``schema: 1``::

    recipe.yaml           the resolved recipe
    manifest.json         seed, versions, git revision, hardware, rewards with their hashes, how
                          it ended
    grpo_config.json      every option of the GRPO trainer as it was, defaults included
    metrics.jsonl         one line a logged step
    faults.jsonl          calls in which a reward failed, each with what makes it again
    rewards.log           what the rewards printed, at most 10 MiB of it
    rollouts/*.parquet    every completion with its rewards
    checkpoints/          what --resume goes on from: the last two, each with sizes and checksums
    policy/  best/        the weights (or adapter) of the last step, of the best look
    broken-*              what was found damaged, beside the whole one that took its place
    evaluation.json       held-out accuracy before and after
    answers.jsonl         the answer to each held-out prompt before and after
    looks.jsonl           what was said of each held-out prompt at each look during training
    tensorboard/          the event files, with report_to: tensorboard
    plot.png              the run at a glance
    overoptimisation.png  reward and truth against the KL to the start, with evaluate.curve
    warm_start/           the model that supervised training gave, and its report
    reward_model/         the reward model, its report and its plot
"""

from llmpolicy.run.checkpoints import add_checkpoint, checkpoints, drop_oldest, step_of
from llmpolicy.run.directory import Run
from llmpolicy.run.files import SCHEMA, read_manifest
from llmpolicy.run.lock import is_live
from llmpolicy.run.machine import git_revision, redact
from llmpolicy.run.mend import mend
from llmpolicy.run.place import clear, is_failed_start, new_run_path
from llmpolicy.run.sealed import (
    broken,
    damage,
    facts_of,
    fingerprint,
    keep_damaged,
    put,
    recover,
    written_whole,
)

__all__ = [
    "SCHEMA",
    "Run",
    "add_checkpoint",
    "broken",
    "checkpoints",
    "clear",
    "damage",
    "drop_oldest",
    "facts_of",
    "fingerprint",
    "git_revision",
    "is_failed_start",
    "is_live",
    "keep_damaged",
    "mend",
    "new_run_path",
    "put",
    "read_manifest",
    "recover",
    "redact",
    "step_of",
    "written_whole",
]
