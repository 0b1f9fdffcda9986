"""Rule groups as YAML text. A few shapes are all it can write, and the daemon needs no YAML library for them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence

from agent.rules.rule import Alert, Group, Record

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z][\w:-]*", re.ASCII)
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_NO_BREAK = "\0"
_NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # what YAML 1.1 takes for something else


def document(groups: Sequence[Group], head: str) -> str:
    """A rule file that Prometheus loads. head: comment lines at its beginning."""
    lines = [*_comment(head), "groups:"]
    for group in groups:
        lines += _comment(group.comment, "  ")
        lines += [f"  - name: {_scalar(group.name)}", "    rules:"]
        for rule in group.rules:
            lines += _record(rule) if isinstance(rule, Record) else _alert(rule)
    return "\n".join(lines) + "\n"


def _record(rule: Record) -> Iterator[str]:
    yield f"      - record: {rule.name}"
    yield from _literal("expr", rule.expr)


def _alert(rule: Alert) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield from _literal("expr", rule.expr)
    if rule.wait != "0s":
        yield f"        for: {rule.wait}"
    yield "        labels:"
    for name, value in {"severity": rule.severity.value, **rule.labels}.items():
        yield f"          {name}: {_scalar(value)}"
    yield "        annotations:"
    for name, text in (("summary", rule.summary), ("description", rule.description), ("runbook", rule.runbook)):
        yield f"          {name}: >-"
        yield from _indented(_wrapped(text, 12), 12)


def _literal(key: str, text: str) -> Iterator[str]:
    yield f"        {key}: |-"
    yield from _indented(textwrap.dedent(text).strip().splitlines(), 10)


def _indented(lines: Sequence[str], spaces: int) -> Iterator[str]:
    for line in lines:
        yield " " * spaces + line


def _wrapped(text: str, indent: int) -> list[str]:
    # A template stays on one line, where a person can read it.
    text = _TEMPLATE.sub(lambda found: found[0].replace(" ", _NO_BREAK), " ".join(text.split()))
    lines = textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _comment(text: str, indent: str = "") -> Iterator[str]:
    for line in textwrap.dedent(text).strip().splitlines():
        yield f"{indent}# {line}".rstrip()


def _scalar(text: str) -> str:
    """Plain where nobody can take it for something else, else in double quotes, which JSON writes as YAML does."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT else json.dumps(text, ensure_ascii=False)
