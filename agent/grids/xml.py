"""XML from the network without what makes XML dangerous."""

from __future__ import annotations

from xml.etree import ElementTree

from agent.grids.payload import Why, bad

MAX_XML_BYTES = 4_000_000


class _DeclaredError(Exception):
    """The document declares a type."""


class _PlainTree(ElementTree.TreeBuilder):
    """Builds the tree of a document that declares nothing."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called by the parser at the declaration's beginning, before any entity in it is read, in every encoding."""
        raise _DeclaredError


def read_xml(body: bytes, provider: str) -> ElementTree.Element:
    """The root element. Raises ReadFailed for what is no XML, is too large, or declares a document type.

    Entities are declared there. They are the way to blow up a small document and to read a file of this machine; a
    data feed needs none.
    """
    if len(body) > MAX_XML_BYTES:
        raise bad(provider, "answer", f"is larger than {MAX_XML_BYTES // 1_000_000} MB", Why.TOO_LARGE)
    parser = ElementTree.XMLParser(target=_PlainTree())  # noqa: S314 - safe against entities by its target
    try:
        parser.feed(body)
        return parser.close()
    except _DeclaredError as error:
        raise bad(provider, "answer", "declares a document type or entities, which is refused") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: an encoding nobody knows
        fault, why = ("is not XML", Why.UNREADABLE) if body.strip() else ("is empty", Why.EMPTY)
        raise bad(provider, "answer", fault, why) from error


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
