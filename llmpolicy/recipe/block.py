"""What every block of a recipe is: a strict model; some are kept as they were written."""

from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


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
