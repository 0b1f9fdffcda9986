"""Text from elsewhere, made fit to print: model names come from the network, device names from drivers."""

from __future__ import annotations

import zlib

LIMIT = 200  # characters of a label value; the agent cuts model names at 128 before they come here
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str, limit: int = LIMIT) -> str:
    """The text without control characters, lone surrogates or line breaks, at most limit characters long.

    A text that had to be changed ends in a checksum of the original, so that two names never become one.
    """
    if len(text) <= limit and text.isprintable():
        return text
    checksum = f"~{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"
    printable = "".join(c if c.isprintable() else _REPLACEMENT for c in text[:limit])
    return printable[: limit - len(checksum)] + checksum
