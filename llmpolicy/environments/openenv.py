"""Environments behind a server of OpenEnv, by its address."""

import json
import urllib.error
import urllib.request
from typing import Any

from llmpolicy.environments.conversation import Answer, Done
from llmpolicy.environments.extras import library
from llmpolicy.errors import RecipeError, nearest

OWN = ("done", "reward", "metadata")
"""The fields of every observation that are not said to the model."""


class Served:
    """One session of a running server; ``name`` is its address.

    The model's words are the field ``action`` of an action, its one required text unless it is
    named; ``observation`` is the field that is said, all of them where none is named.
    """

    def __init__(
        self, name: str, action: str | None = None, observation: str | None = None, **fields: Any
    ) -> None:
        library("openenv", "openenv")
        if not name.startswith(("http://", "https://")):
            raise RecipeError(
                f"openenv {name!r}: expected the address of a running server, such as"
                " http://127.0.0.1:8000"
            )
        schema = _schema(name.rstrip("/"))
        self._action = _field(name, schema["action"], action)
        self._observation, self._fields = observation, fields
        said = schema["observation"].get("properties", {})
        if observation is not None and observation not in said:
            raise RecipeError(
                f"openenv {name!r}: observations have no {observation!r}"
                f"{nearest(observation, said)}"
            )
        # It takes seconds to import, so that what is wrong was said before.
        client = library("openenv.core", "openenv").GenericEnvClient
        # The limit of a call is that of the player, in whose process this is.
        self._server = client(base_url=name.rstrip("/"), message_timeout_s=86400.0).sync()

    def reset(self, seed: int) -> str:
        """What the server says first."""
        try:
            return self._words(self._server.reset(seed=seed).observation)
        except Exception as error:
            if "ConnectionClosed" not in type(error).__name__:
                raise
            raise ConnectionError(
                "the server closed the session at once; it must allow as many as dialogues are"
                " played at a time (max_concurrent_envs)"
            ) from error

    def step(self, reply: str) -> Answer | Done:
        """What the server says to a turn, and what that earned."""
        result = self._server.step({**self._fields, self._action: str(reply)})
        words, reward = self._words(result.observation), result.reward
        if result.done:
            return Done(None if reward is None else float(reward), words)
        return Answer(words, float(reward or 0.0))

    def get_reward(self) -> float:
        """Nothing more for an episode that the server has not ended."""
        return 0.0

    def _words(self, observation: dict[str, Any]) -> str:
        if self._observation is not None:
            return str(observation.get(self._observation, ""))
        said = {key: value for key, value in observation.items() if key not in OWN}
        texts = [value for value in said.values() if isinstance(value, str)]
        return texts[0] if len(said) == len(texts) == 1 else json.dumps(said, ensure_ascii=False)


def _schema(address: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{address}/schema", timeout=10) as answer:
            schema = json.load(answer)
        return {key: dict(schema[key]) for key in ("action", "observation")}
    except (OSError, urllib.error.URLError) as error:
        raise RecipeError(f"openenv {address!r}: no server answers there ({error})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise RecipeError(f"openenv {address!r}: it is no server of OpenEnv ({error!r})") from error


def _field(name: str, schema: dict[str, Any], asked: str | None) -> str:
    """The field of an action that the model's words become."""
    fields = schema.get("properties", {})
    if asked is not None:
        if asked not in fields:
            raise RecipeError(
                f"openenv {name!r}: actions have no {asked!r}{nearest(asked, fields)}"
            )
        return asked
    texts = [key for key in schema.get("required", ()) if fields[key].get("type") == "string"]
    if len(texts) != 1:
        raise RecipeError(
            f"openenv {name!r}: an action has {len(texts)} required texts; expected args: {{action:"
            f" FIELD}}{nearest('', [key for key in fields if key != 'metadata'])}"
        )
    return str(texts[0])
