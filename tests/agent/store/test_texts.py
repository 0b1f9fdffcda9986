"""What is written piece by piece is what is written as a whole, and a piece that stays is not written again."""

from __future__ import annotations

from dataclasses import replace

from agent import books
from agent.accounts import Account, Rules, Settlement
from agent.books import Policy
from agent.codec import Codecs
from agent.learn import Fit
from agent.store.texts import Texts
from tests.fakes.service import CPU, Service, at, gpu

POLICY = Policy(rules=Rules(engines={"a": ("GPU-0",), "b": ("GPU-1",)}))


class Counting(Codecs):
    """Notes of what kinds it wrote the text."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote: list[object] = []

    def dumps(self, value: object, kind: object) -> str:
        self.wrote.append(kind)
        return super().dumps(value, kind)


def test_at_every_tick_of_a_run_the_text_is_that_of_the_whole() -> None:
    service, whole = Service(), Codecs()
    texts = Texts(Codecs(), Settlement, (Settlement, Account))
    state = books.begin(service.tick().at, POLICY)
    seen = set()
    for second in range(90):
        service.go_on(1.0, {gpu(0): 300.0 + 10 * (second % 9), gpu(1): 80.0, CPU: 50.0})
        service.running["a"] = 1.0 if second % 20 < 13 else 0.0
        service.book("a", generated=10 if second % 20 < 13 else 0, computed=100 if second % 5 == 0 else 0)
        service.book("b", generated=second % 3)
        replies = [service.sample(e) for e in "ab"] if second % 3 == 0 else []
        state = books.tick(state, service.tick(*replies), POLICY)
        text = texts.dumps(state.settlement)
        assert text == whole.dumps(state.settlement, Settlement)
        seen.add(text)
    assert any(account.fit != Fit() for account in state.settlement.accounts.values())
    assert len(seen) == 90


def test_only_what_changed_is_written_anew() -> None:
    codecs = Counting()
    texts = Texts(codecs, Settlement, (Settlement, Account))
    account = Account(at(1.0))
    settlement = Settlement(at(0.0), {frozenset({"a"}): account})
    texts.dumps(settlement)
    assert Fit in codecs.wrote
    codecs.wrote.clear()
    moved = replace(account, closed_to=at(2.0))
    text = texts.dumps(replace(settlement, accounts={frozenset({"a"}): moved}))
    assert Fit not in codecs.wrote
    assert Codecs().loads(text, Settlement).accounts[frozenset({"a"})] == moved


def test_what_is_not_held_any_more_is_forgotten() -> None:
    codecs = Counting()
    texts = Texts(codecs, Settlement, (Settlement, Account))
    settlement = Settlement(at(0.0), {frozenset({"a"}): Account(at(1.0))})
    texts.dumps(settlement)
    texts.dumps(Settlement(at(0.0)))
    codecs.wrote.clear()
    texts.dumps(settlement)
    assert Fit in codecs.wrote
