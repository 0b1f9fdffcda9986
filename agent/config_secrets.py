"""Secrets: read from an environment variable or a file, never from the configuration, never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from agent.settings import Secret

MAX_SECRET_BYTES = 64 * 1024

# Only what is plainly a variable's name is quoted: whoever writes the token itself here must not see it in a log.
_QUOTABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_?", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class SecretError(Exception):
    """Why there is no secret, without a word of it."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def read_secret(env_name: str, file_name: str, env: Mapping[str, str]) -> Secret | None:
    """The secret that one of the two names; None if neither does. Raises SecretError."""
    if env_name:
        return _from_env(env_name, env)
    return _from_file(file_name) if file_name else None


def _from_env(name: str, env: Mapping[str, str]) -> Secret:
    if not _ENV_NAME.fullmatch(name):
        raise SecretError(
            "is not the name of an environment variable", 'write the name, such as "VLLM_TOKEN", not the secret'
        )
    shown = name if _QUOTABLE.fullmatch(name) and len(name) <= 64 else "the variable"
    value = env.get(name, "").strip()
    if not value:
        state = "is empty" if name in env else "is not set"
        raise SecretError(f"{shown} {state} in the environment", "set it where the agent starts")
    return _checked(value, f"env {shown}")


def _from_file(name: str) -> Secret:
    path = Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        value = content.decode("utf-8").strip()
    except OSError as error:
        raise SecretError(
            f"cannot be read: {error.strerror}", "write the path of a file that the agent may read"
        ) from None
    except UnicodeDecodeError:
        raise SecretError("is not text", "a secret's file holds the secret and nothing else") from None
    if not value:
        raise SecretError("is empty")
    if len(content) > MAX_SECRET_BYTES:
        raise SecretError("is larger than 64 KiB", "a secret's file holds the secret and nothing else")
    return _checked(value, f"file {path}")


def _checked(value: str, origin: str) -> Secret:
    if not value.isprintable():
        raise SecretError("holds control characters or several lines", "a secret is one line")
    return Secret(value, origin)
