"""The text after the last closed reasoning block, exactly as it was written."""

from ._text import final_text

_HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def reply(completion: str, prompt: str = "") -> str:
    """What follows the reasoning, without the whitespace around it; raises NoAnswer as `final_text` does.

    Nothing is normalised, for rewards to which another spelling is another value, such as JSON.
    """
    # final_text decides on a copy of the same length in which nothing is left to normalise.
    copy = completion.encode("ascii", "replace").decode()
    after = final_text(copy, prompt)
    end = len(copy.rstrip())
    return completion[end - len(after) : end].strip().strip(_HIDDEN).strip()
