"""What every block of a recipe is: a strict model; some are kept as they were written."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Block(BaseModel):
    """A part of a recipe in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class AsWritten(Block):
    """A block that is kept with its run as it was written; what is not written is left to whoever
    reads the block.
    """

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key in self.model_fields_set}
