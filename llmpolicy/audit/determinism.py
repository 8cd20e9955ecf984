"""Whether a reward says the same again: in another order, one by one, in threads, elsewhere."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from llmpolicy.audit.asking import answers, directly
from llmpolicy.audit.golds import MOST_SEEN
from llmpolicy.audit.subject import SHOWN, Subject
from llmpolicy.errors import RewardError
from llmpolicy.types import Sample

Values = Sequence[float | None]


def check_groups(subject: Subject) -> None:
    """A reward over groups must answer for each completion of one."""
    if subject.component.style == "group" and subject.seen:
        try:
            subject.rewards.score([subject.seen[0]] * 2, 2)
        except RewardError as error:
            subject.error(str(error))


def check_determinism(subject: Subject) -> None:
    """The same scores again over what was asked, unless the reward says that it draws lots."""
    if not subject.contract.deterministic or not subject.seen:
        return
    component = subject.component
    samples = subject.seen[:: max(1, len(subject.seen) // MOST_SEEN)][:MOST_SEEN]
    before = _again(subject, samples)
    same = partial(_check_same, subject, samples, before)
    same("when it was run again", _again(subject, samples))
    same("in another batch order", _again(subject, samples[::-1])[::-1])
    if component.style == "single" and not component.positional:
        with ThreadPoolExecutor(4) as threads:
            same("in a thread", [*threads.map(partial(directly, component), samples)])
    if isinstance(subject.spec.fn, str):
        same("in another process", _elsewhere(subject, samples))


def _again(subject: Subject, samples: Sequence[Sample]) -> list[float | None]:
    return [answer.value for answer in answers(subject.fresh(), samples)]


def _elsewhere(subject: Subject, samples: Sequence[Sample]) -> list[float | None]:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from llmpolicy.audit.asking import"
        " answer_there; answer_there()"
    )
    # Another order of sets and dicts of text than here.
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=pickle.dumps((subject.spec, subject.base_dir, list(samples))),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )
    if ended.returncode:
        printed = ended.stderr.decode(errors="replace").strip()[-200:]
        subject.error(f"another process could not score: {printed}")
        return [None] * len(samples)
    return list(pickle.loads(ended.stdout))  # our own process wrote it


def _check_same(
    subject: Subject, samples: Sequence[Sample], before: Values, how: str, again: Values
) -> None:
    for sample, value, changed in zip(samples, before, again, strict=True):
        if value != changed:
            shown = sample.completion[:SHOWN]
            subject.error(f"scored {value}, and {changed} {how}: {shown!r}")
            return
