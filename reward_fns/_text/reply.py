"""The text outside of the thinking, exactly as it was written."""

from .completion import ThinkingMarks, after_reasoning, check_length

_HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def reply(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> str:
    """What is not thinking, without the whitespace around it; raises NoAnswer as `after_reasoning`
    does.

    Nothing is normalised, for rewards to which another spelling is another value, such as JSON.
    """
    check_length(completion)
    return after_reasoning(completion, prompt, thinking_marks).strip().strip(_HIDDEN).strip()
