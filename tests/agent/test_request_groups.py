"""Who a request was for, when its engine does not know."""

from __future__ import annotations

from agent.model import RequestSpan
from agent.request_groups import REMEMBERED, Callers


def span(trace_id: str, **group: str) -> RequestSpan:
    return RequestSpan("", 1.0, 2.0, trace_id=trace_id, group=tuple(group.items()))


def test_an_engines_span_gets_what_its_trace_says() -> None:
    callers = Callers().note([span("t1", tenant="a", route=""), span("t2", tenant="b", route="")])
    assert callers.group(span("t1", tenant="", route="")) == (("tenant", "a"), ("route", ""))
    assert callers.group(span("t3", tenant="", route="")) == (("tenant", ""), ("route", ""))


def test_its_own_values_go_before_and_the_first_of_a_trace_holds() -> None:
    callers = Callers().note([span("t", tenant="", route="r1"), span("t", tenant="a", route="r2")])
    callers = callers.note([span("t", tenant="late", route="late")])
    assert callers.group(span("t", tenant="", route="")) == (("tenant", "a"), ("route", "r1"))
    assert callers.group(span("t", tenant="own", route="")) == (("tenant", "own"), ("route", "r1"))


def test_without_a_trace_or_a_value_nothing_is_remembered() -> None:
    callers = Callers()
    assert callers.note([span("", tenant="a"), span("t", tenant=""), span("t")]) is callers
    assert callers.note([span("", tenant="a")]).group(span("", tenant="")) == (("tenant", ""),)
    assert Callers().note([span("t", tenant="a")]).group(span("t")) == ()  # nobody asked for groups


def test_memory_is_bounded_and_the_last_traces_are_kept() -> None:
    callers = Callers()
    for n in range(3 * REMEMBERED):
        if n % 5000 == 0:
            callers = callers.note(span(f"t{k}", tenant=str(k)) for k in range(n, n + 5000))
    assert len(callers.young) + len(callers.old) <= 2 * REMEMBERED + 5000
    assert callers.group(span(f"t{3 * REMEMBERED - 1}", tenant="")) == (("tenant", str(3 * REMEMBERED - 1)),)
    assert callers.group(span("t0", tenant="")) == (("tenant", ""),)
