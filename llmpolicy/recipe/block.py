"""What every block of a recipe is: a strict model; some are kept as they were written."""

import math
import re
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


def seconds(value: Any) -> float | None:
    """Seconds from a number or from a text such as '90s', '10m', '2h'."""
    if value is None or (isinstance(value, (int, float)) and 0 < value < math.inf):
        return value
    duration = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(value))
    if not duration or not float(duration[1]):
        raise ValueError(f"{value!r} is not a duration above 0, such as 90s, 10m or 2h")
    return float(duration[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[duration[2]]


def size(value: Any) -> int:
    """Bytes from a number or from a text such as '500MB', '2 GB', '1TB'."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    written = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B\s*", str(value))
    if not written or not float(written[1]):
        raise ValueError(f"{value!r} is not a size above 0, such as 500MB or 10GB")
    return round(float(written[1]) * 1000 ** " kMGT".index(written[2] or " "))


class Block(BaseModel):
    """A part of a recipe in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class AsWritten(Block):
    """A block that is kept with its run as it was written; what is not written is left to whoever
    reads the block, and what is written is a value, but for ``MAY_BE_NULL``.
    """

    MAY_BE_NULL: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _says_something(self) -> "AsWritten":
        for key in type(self).model_fields:
            null = key in self.model_fields_set and getattr(self, key) is None
            if null and key not in self.MAY_BE_NULL:
                raise ValueError(f"{key} is null; expected a value, or no such key")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key in self.model_fields_set}
