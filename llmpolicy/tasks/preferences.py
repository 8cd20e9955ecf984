"""Preference pairs: a prompt with a reply that was chosen and one that was rejected, from the Hub
or a local file.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import Reply, is_messages, plain
from llmpolicy.tasks.content import readable
from llmpolicy.tasks.demonstrations import read_reply, refuse_two_replies, talk_in
from llmpolicy.tasks.rows import Row, make_rows
from llmpolicy.tasks.sources import read_rows
from llmpolicy.tasks.spec import TaskSpec
from llmpolicy.tasks.split import question_hash
from llmpolicy.types import Prompt

COLUMNS = ("prompt", "chosen", "rejected")

TURN = "\n\nAssistant:"
"""Where the last reply of a transcript in one text begins, as in Anthropic's hh-rlhf."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to a prompt; ``question`` is its canonical form, which decides on which side of
    the split it lies.
    """

    prompt: Prompt
    chosen: Reply
    rejected: Reply
    question: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that are trained on and those that are not; ``dropped`` had two equal replies."""

    train: Sequence[Pair]
    held_out: Sequence[Pair]
    dropped: int


def load_pairs(
    spec: TaskSpec, base_dir: Path | None = None, *, held_out: int = 0, never: Collection[str] = ()
) -> Pairs:
    """The pairs of a source with columns ``chosen`` and ``rejected``, and ``prompt`` (or the task's
    template) or none.

    Without a prompt it is what both replies begin with: whole messages, or of two texts whole
    words. Held out are all pairs of the ``held_out`` questions with the lowest hash, and of those
    in ``never``. Raises TaskError in one sentence, naming the row.
    """
    raws, kept = read_rows(spec, base_dir), []
    for index, raw in enumerate(raws):
        pair = _explicit(spec, raw, index)
        if pair["chosen"] != pair["rejected"]:
            kept.append(pair)
    if not kept:
        raise TaskError(
            f"preferences {spec.label!r}: in all {len(raws)} pairs chosen and rejected are equal"
        )
    pairs = []
    for transcript in (False, True):
        alike = [row for row in kept if row["transcript"] is transcript]
        for row in _rows(spec, alike, base_dir, transcript):
            chosen, rejected = row.columns["chosen"], row.columns["rejected"]
            pairs.append(Pair(row.prompt, chosen, rejected, row.question))
    dropped = len(raws) - len(kept)
    if dropped:
        logging.getLogger("llmpolicy").warning(
            "%d of %d pairs dropped: chosen and rejected are equal", dropped, len(raws)
        )
    return _split(spec, pairs, held_out, never, dropped)


def _split(
    spec: TaskSpec, pairs: Sequence[Pair], n: int, never: Collection[str], dropped: int
) -> Pairs:
    asked = sorted({pair.question for pair in pairs}, key=question_hash)
    aside = {*asked[:n], *never}
    train, held = list[Pair](), list[Pair]()
    for pair in pairs:
        (held if pair.question in aside else train).append(pair)
    if not train:
        raise TaskError(
            f"preferences {spec.label!r} have {len(asked)} distinct prompts, all of them held out; "
            f"expected more than the {n} that are asked for"
        )
    return Pairs(train, held, dropped)


def _rows(
    spec: TaskSpec, raws: list[dict[str, Any]], base_dir: Path | None, transcript: bool
) -> list[Row]:
    """Rows with their prompts; a transcript in one text has its turns written out and goes through
    no chat template.
    """
    if not raws:
        return []
    update: dict[str, Any] = {}
    if transcript:
        update = {"chat": False, "prompt": None, "system": None, "few_shot": [], "prefill": None}
    columns = {name: column for name, column in spec.columns.items() if name not in COLUMNS}
    return make_rows(spec.model_copy(update={"columns": columns, **update}), raws, base_dir)


def _explicit(spec: TaskSpec, row: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One pair with its prompt apart; ``transcript`` says that the prompt was the common beginning
    of two texts.

    A pair of equal replies keeps them as they are: it is dropped, and counted.
    """
    where = f"preferences {spec.label!r}, row {index}"
    pair = dict(row)
    for name in COLUMNS:
        column = spec.columns.get(name, name)
        if column in pair:
            pair[name] = _read(pair[column], f"{where}, {name}")
        elif name != "prompt":
            raise TaskError(f"{where}: no column {column!r}{nearest(column, row)}")
    for name in ("chosen", "rejected"):
        if not pair[name]:
            raise TaskError(f"{where}: {name} is empty, expected a reply")
    chat = isinstance(pair["chosen"], list)
    implicit = spec.prompt is None and not _has_prompt(pair, chat)
    pair["transcript"] = implicit and not chat
    if pair["chosen"] == pair["rejected"]:
        return pair
    if implicit:
        pair |= _without_prompt(pair, where)
    for name in ("chosen", "rejected"):
        pair[name] = read_reply(pair[name], f"{where}, {name}")
    return pair


def _read(value: Any, where: str) -> Any:
    """Messages in one form, so that replies which begin alike are seen to; anything else as it
    is.
    """
    talk = talk_in(value, where)
    if is_messages(talk):
        return plain(readable(talk, where))
    return talk


def _has_prompt(row: Mapping[str, Any], chat: bool) -> bool:
    """Whether the prompt is given; beside whole conversations a prompt in one text only repeats
    their beginning.
    """
    if row.get("prompt") is None:
        return False
    return not chat or isinstance(row["prompt"], list) or len(row["chosen"]) == 1


def _without_prompt(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Prompt, chosen and rejected of a pair whose replies begin with the prompt."""
    chosen, rejected = row["chosen"], row["rejected"]
    if type(chosen) is not type(rejected) or not isinstance(chosen, list | str):
        raise TaskError(
            f"{where}: chosen is {chosen!r:.40} and rejected {rejected!r:.40}; expected two texts"
            " or two conversations"
        )
    end = _common(chosen, rejected)
    if isinstance(chosen, str):
        end = _common_words(chosen, rejected, end)
    if not end:
        raise TaskError(
            f"{where}: chosen and rejected share no beginning, and there is no column 'prompt'"
        )
    if end == min(len(chosen), len(rejected)):
        shorter, longer = sorted(("chosen", "rejected"), key=lambda name: len(row[name]))
        raise TaskError(
            f"{where}: {shorter} is the beginning of {longer}, so that one of them has no reply of"
            " its own"
        )
    refuse_two_replies(chosen[end - 1], where)
    return {"prompt": chosen[:end], "chosen": chosen[end:], "rejected": rejected[end:]}


def _common(chosen: Sequence[Any], rejected: Sequence[Any]) -> int:
    """Up to which element both are the same."""
    for index, (left, right) in enumerate(zip(chosen, rejected, strict=False)):
        if left != right:
            return index
    return min(len(chosen), len(rejected))


def _common_words(chosen: str, rejected: str, end: int) -> int:
    """Where the replies of two texts begin: behind the last assistant's turn that both have, else
    where a word does.

    The blank before a word is the reply's, a line break the prompt's. What two replies begin with
    alike is theirs behind such a turn; elsewhere nothing tells it from the prompt.
    """
    common = chosen[:end]
    if TURN in common:
        return common.rindex(TURN) + len(TURN)
    for end in range(len(common), 0, -1):
        last, blanks = common[end - 1], chosen[end : end + 1] == rejected[end : end + 1] == " "
        ends = last != " " and (last.isspace() or blanks)
        if ends and chosen[end:].strip() and rejected[end:].strip() and common[:end].strip():
            return end
    return 0
