"""XML from the network without what makes XML dangerous."""

from __future__ import annotations

from xml.etree import ElementTree

from agent.grids.payload import bad

MAX_XML_BYTES = 4_000_000
_DECLARATIONS = ("<!DOCTYPE", "<!ENTITY")


def read_xml(body: bytes, provider: str) -> ElementTree.Element:
    """The root element. Raises ReadFailed for what is no XML in UTF-8, is too large, or declares a type or an entity.

    Entities are the way to blow up a small document or to read a file of this machine; a data feed needs none. The
    text is decoded here and not by the parser, so that no other encoding can hide a declaration.
    """
    if len(body) > MAX_XML_BYTES:
        raise bad(provider, "answer", f"is larger than {MAX_XML_BYTES // 1_000_000} MB")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(provider, "answer", "is not UTF-8") from error
    if any(declaration in text for declaration in _DECLARATIONS):
        raise bad(provider, "answer", "declares a document type or entities, which is refused")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - no declarations, see above, and a size limit
    except (ElementTree.ParseError, ValueError) as error:
        raise bad(provider, "answer", "is not XML" if text.strip() else "is empty") from error


def tag(element: ElementTree.Element) -> str:
    """An element's name without its namespace, which changes with every version of a schema."""
    return element.tag.rpartition("}")[2]


def children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if tag(child) == name]


def text_at(element: ElementTree.Element, *path: str) -> str | None:
    """The text of the first element along a path of names; None if there is none."""
    for name in path:
        found = children(element, name)
        if not found:
            return None
        element = found[0]
    return (element.text or "").strip()
