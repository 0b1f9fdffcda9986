"""On which GPUs an engine is that names none."""

from __future__ import annotations

from collections.abc import Mapping

from agent.accounts import Rules
from agent.model import EngineGpu, Instance, Reading
from agent.places import LOOKS, Found, Place, Places, found, gpus_of, look, moved_since_s, placed, said
from tests.fakes.service import at, gpu

RULES = Rules(engines={"a": None, "b": None}, finds=frozenset("ab"))
PIDS = {"a": frozenset({1, 2}), "b": frozenset({3})}


def told(held: Mapping[int, tuple[int, ...] | None]) -> list[Reading]:
    return [Reading(gpu(n), at(0.0), index=n, residents=pids) for n, pids in held.items()]


def looks(
    places: Places,
    held: Mapping[int, tuple[int, ...] | None],
    times: int = 1,
    *,
    from_s: float = 0.0,
    rules: Rules = RULES,
) -> Places:
    for n in range(times):
        places = look(places, told(held), PIDS, rules, at(from_s + n))
    return places


def test_an_engine_is_where_its_processes_hold_memory_from_the_first_sight_on() -> None:
    places = looks({}, {0: (1, 99), 1: (2,), 2: (3,), 3: ()})
    assert {e: p.gpus for e, p in places.items()} == {"a": ("GPU-0", "GPU-1"), "b": ("GPU-2",)}
    assert placed(RULES, places, "ab").engines == {"a": ("GPU-0", "GPU-1"), "b": ("GPU-2",)}
    assert [found(RULES, places, e) for e in "ab"] == [Found.PROCESSES] * 2
    assert moved_since_s({}, places, "a") == float("-inf"), "that it was everywhere before was a guess"
    assert said({}, places)[0] == "engine a: on GPU-0, GPU-1, where its processes hold memory"


def test_another_place_counts_when_it_was_seen_often_enough_in_a_row_and_since_the_first_of_these() -> None:
    home = looks({}, {0: (1,), 1: ()})
    almost = looks(home, {0: (), 1: (1,)}, LOOKS - 1, from_s=10.0)
    assert almost["a"].gpus == ("GPU-0",)
    there = looks(almost, {0: (), 1: (1,)}, from_s=15.0)
    assert there["a"] == Place(("GPU-1",), at(10.0))
    assert moved_since_s(home, there, "a") == 10.0
    assert moved_since_s(home, there, "b") is None
    back = looks(almost, {0: (1,), 1: ()}, from_s=15.0)
    assert back["a"] == home["a"], "a look at the old place begins the count anew"
    other = looks(almost, {0: (1,), 1: (2,)}, LOOKS - 1, from_s=15.0)
    assert other["a"].gpus == ("GPU-0",), "so does a third place"


def test_an_engine_that_is_seen_nowhere_stays_where_it_was() -> None:
    home = looks({}, {0: (1,), 1: ()})
    gone = looks(home, {0: (), 1: ()}, 5)
    assert gone["a"].gpus == ("GPU-0",)
    assert looks({}, {0: (), 1: (99,)}, 5) == {}
    assert found(RULES, {}, "a") == Found.NOT_SEEN
    assert placed(RULES, {}) is RULES


def test_an_engine_that_never_answered_and_is_seen_nowhere_is_on_no_gpu_once_another_one_is_seen() -> None:
    home = looks({}, {0: (1,), 1: ()})
    assert placed(RULES, home).engines == {"a": ("GPU-0",), "b": ()}
    assert placed(RULES, home, {"b": 1}).engines == {"a": ("GPU-0",), "b": None}, "it runs, and nobody knows where"
    assert placed(RULES, {}).engines == {"a": None, "b": None}, "nobody is seen: perhaps nobody can be"


def test_a_gpu_that_tells_nothing_is_not_one_that_tells_of_nobody() -> None:
    home = looks({}, {0: (1,), 1: (2,)})
    assert looks(home, {0: (1,), 1: None}, 5)["a"].gpus == ("GPU-0", "GPU-1")
    assert looks(home, {0: (1,), 1: ()}, 5)["a"].gpus == ("GPU-0",)
    assert looks(home, {0: None, 1: None}) is home


def test_what_the_configuration_says_always_wins() -> None:
    rules = Rules(engines={"a": ("GPU-7",), "b": None}, finds=frozenset("b"))
    places = looks({"a": Place(("GPU-0",))}, {0: (1,), 1: (3,)}, rules=rules)
    assert places == {"b": Place(("GPU-1",))}
    assert placed(rules, {"a": Place(("GPU-0",)), **places}).engines == {"a": ("GPU-7",), "b": ("GPU-1",)}
    assert found(rules, places, "a") == Found.CONFIG
    nobody = Rules(engines={"a": None})
    assert looks({}, {0: (1,)}, rules=nobody) == {}


def test_of_a_gpu_with_mig_the_instance_is_found() -> None:
    one, two = (Instance(f"MIG-{n}", 1e10, residents=pids) for n, pids in ((1, (1,)), (2, (3,))))
    reading = Reading(gpu(0), at(0.0), instances=(one, two))
    places = look({}, [reading], PIDS, RULES, at(0.0))
    assert {e: p.gpus for e, p in places.items()} == {"a": ("MIG-1",), "b": ("MIG-2",)}


def test_the_gpus_of_an_engine_are_told_with_its_instances() -> None:
    readings = [Reading(gpu(0), at(0.0), instances=(Instance("MIG-1", 1e10),)), *told({1: (), 2: ()})]
    rules = Rules(engines={"a": ("GPU-0", 1)}, on_instance={"MIG-1": ("a",)})
    assert gpus_of(rules, readings, "a") == (EngineGpu("GPU-0", "MIG-1"), EngineGpu("GPU-1"))
    assert gpus_of(rules, readings, "b") == ()
