"""The score of a trained reward model: a sequence classifier with one label. The one reward that
needs torch.
"""

from collections.abc import Sequence
from typing import Any

from llmpolicy.messages import content_text
from llmpolicy.rewards import Score, reward


@reward(
    kind="judge", timeout=60.0, in_process=True, settings=("model", "revision", "trust_remote_code")
)
def score(
    completion: str | None = None,
    prompt: Any = "",
    messages: Any = None,
    completions: Sequence[Any] | None = None,
    prompts: Sequence[Any] | None = None,
    *,
    model: str,
    revision: str | None = None,
    max_length: int | None = None,
    trust_remote_code: bool = False,
) -> Score | list[Score]:
    """The logit that the reward model in the folder or on the Hub at ``model`` gives a prompt with
    its completion.

    ``style: trl`` scores a whole batch in a few forward passes, ``group`` a group, ``single`` one
    text. The text is put together by the reward model's own tokenizer and chat template; above
    ``max_length`` tokens (by default the model's context) its beginning is left out, and the score
    says so. RewardError for a model that is no reward model.
    """
    from llmpolicy.policies.rewarder import load, score_texts, token_ids, written

    rewarder = load(model, written(model), revision, trust_remote_code)
    if completions is None:
        ids = token_ids(rewarder, messages or prompt, completion or "")
        return score_texts(rewarder, [ids], max_length)[0]
    if prompts is None:
        prompts = [chat or text for chat, text in zip(messages, prompt, strict=True)]
    rows = [
        token_ids(rewarder, before, _text(reply))
        for before, reply in zip(prompts, completions, strict=True)
    ]
    return score_texts(rewarder, rows, max_length)


def _text(completion: Any) -> str:
    """The text of a completion, which TRL hands over as a list of one message where the prompt is a
    chat.
    """
    if isinstance(completion, str):
        return completion
    return "".join(content_text(part["content"]) for part in completion)
