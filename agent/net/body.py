"""Reads the body of an answer, never more of it than a limit, compressed or not."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import httpx

from agent.errors import ReadFailed


class TooLarge(ReadFailed):
    """More came than anybody asked for."""


_GZIP_OR_ZLIB = 47  # wbits: find out which of the two
_STEP = 1 << 16


def read_body(response: httpx.Response, max_bytes: int, *, in_lines: bool = True) -> bytes:
    """The body, decompressed. Raises ReadFailed beyond max_bytes, and for a compression that was not asked for.

    A page that is cut off is refused where that can be seen: its last number may lack its last digits. Where the
    connection's end is the body's, only the last line's end shows that; in_lines=False for a body that has none.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    raw: Iterable[bytes] = (response.content,) if response.is_stream_consumed else response.iter_raw()
    if encoding in ("gzip", "x-gzip", "deflate"):
        raw = _inflated(raw, encoding)
    elif encoding not in ("", "identity"):
        raise ReadFailed(f"content-encoding {encoding[:20]} was not asked for")
    page = bytearray()
    for chunk in raw:
        page += chunk
        if len(page) > max_bytes:
            raise TooLarge(f"page larger than {max_bytes // 1_000_000} MB")
    told_its_end = "content-length" in response.headers or "transfer-encoding" in response.headers
    if in_lines and page and not told_its_end and not page.endswith(b"\n"):
        raise ReadFailed("page is cut off")
    return bytes(page)


def _inflated(raw: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decompress in small steps, so that a bomb is noticed long before it has grown."""
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for chunk in raw:
            rest = chunk
            while rest:
                if inflate.eof:
                    raise ReadFailed(f"more after the end of the {encoding} data")
                yield inflate.decompress(rest, _STEP)
                rest = inflate.unconsumed_tail or inflate.unused_data
        yield inflate.flush()
    except zlib.error:
        raise ReadFailed(f"{encoding} data that cannot be read") from None
    if not inflate.eof:
        raise ReadFailed(f"{encoding} data is cut off")
