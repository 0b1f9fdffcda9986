"""On which GPUs an engine is that names none."""

from __future__ import annotations

from collections.abc import Mapping

from agent.accounts import Rules
from agent.model import EngineGpu, Instance, Reading
from agent.places import LEFT_LOOKS, LOOKS, Found, Place, Places, found, gpus_of, look, moved_since_s, placed, said
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
    pids: Mapping[str, frozenset[int]] = PIDS,
    answered_s: float | None = 1e9,
) -> Places:
    """answered_s: when every engine told something last."""
    answered = {} if answered_s is None else {e: at(answered_s) for e in rules.engines}
    for n in range(times):
        places = look(places, told(held), pids, rules, at(from_s + n), answered)
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


WITHOUT = {"a": frozenset({1}), "b": frozenset[int]()}  # b's processes are seen, and have no GPU open


def test_an_engine_that_has_no_gpu_open_is_on_none_when_that_was_seen_often_enough() -> None:
    almost = looks({}, {0: (1,), 1: ()}, LOOKS - 1, pids=WITHOUT)
    assert placed(RULES, almost, "ab").engines == {"a": ("GPU-0",), "b": None}
    places = looks(almost, {0: (1,), 1: ()}, from_s=5.0, pids=WITHOUT)
    assert placed(RULES, places, "ab").engines == {"a": ("GPU-0",), "b": ()}
    assert found(RULES, places, "b") == Found.UNCLAIMED
    assert moved_since_s(almost, places, "b") == float("-inf"), "that it was everywhere before was a guess"
    assert said(almost, places) == ["engine b: its processes have no GPU open; on none"]
    assert looks(places, {0: (1,), 1: ()}, 5, from_s=9.0, pids=WITHOUT) == places


def test_an_engine_alone_that_has_no_gpu_open_is_on_none() -> None:
    rules = Rules(engines={"b": None}, finds=frozenset("b"))
    places = looks({}, {0: ()}, LOOKS, rules=rules, pids={"b": frozenset()})
    assert placed(rules, places, "b").engines == {"b": ()}
    hidden = looks({}, {0: ()}, 9, rules=rules, pids={"b": frozenset({3})})
    assert placed(rules, hidden, "b") is rules, "it has one open: the driver does not tell of its memory"
    assert placed(rules, looks({}, {0: ()}, 9, rules=rules, pids={}), "b") is rules, "its processes are not seen"
    assert placed(rules, looks({}, {0: None}, 9, rules=rules, pids={"b": frozenset()}), "b") is rules
    assert placed(rules, looks({}, {0: (), 1: None}, 9, rules=rules, pids={"b": frozenset()}), "b") is rules


def test_an_engine_in_a_container_is_left_where_processes_are_that_are_no_engines() -> None:
    """What listens only forwards to it."""
    places = looks({}, {0: (1,), 1: (77,), 2: ()}, LOOKS, pids=WITHOUT)
    assert placed(RULES, places, "ab").engines == {"a": ("GPU-0",), "b": ("GPU-1",)}
    assert said({}, places)[1].endswith("on GPU-1, where processes hold memory that are no engine's")


def test_an_engine_is_without_a_gpu_only_if_it_answers_so() -> None:
    home = looks({}, {0: (1,), 1: (77,)}, LOOKS, pids=WITHOUT)
    for answered_s in (None, 9.0):  # in its container it ended, and loads
        gone = looks(home, {0: (1,), 1: ()}, 20, from_s=10.0, pids=WITHOUT, answered_s=answered_s)
        assert gone["b"].gpus == ("GPU-1",)
        assert looks(gone, {0: (1,), 1: (78,)}, from_s=40.0, pids=WITHOUT) == home
    answers = looks(home, {0: (1,), 1: ()}, LEFT_LOOKS, from_s=10.0, pids=WITHOUT, answered_s=10.5)
    assert answers["b"] == Place((), at(10.0), unclaimed=True)


def test_a_stranger_that_comes_and_goes_leads_no_engine_elsewhere() -> None:
    home = looks({}, {0: (1,), 1: (77,), 2: ()}, LOOKS, pids=WITHOUT)
    came = looks(home, {0: (1,), 1: (77,), 2: (99,)}, LEFT_LOOKS - 1, from_s=10.0, pids=WITHOUT)
    assert looks(came, {0: (1,), 1: (77,), 2: ()}, from_s=40.0, pids=WITHOUT) == home
    stays = looks(came, {0: (1,), 1: (77,), 2: (99,)}, from_s=40.0, pids=WITHOUT)
    assert stays["b"] == Place(("GPU-1", "GPU-2"), at(10.0), unclaimed=True)


def test_an_engine_without_a_gpu_gets_none_of_an_engine_that_starts_or_is_named_there() -> None:
    home = looks({}, {0: (1,), 1: ()}, LOOKS, pids=WITHOUT)
    loads = looks(home, {0: (55,), 1: ()}, 9, from_s=9.0, pids={"b": frozenset()})
    assert loads == home
    for named in (("GPU-0",), (0,), None):
        rules = Rules(engines={"c": named, "b": None}, finds=frozenset("b"))
        places = looks({}, {0: (55,)}, LOOKS, rules=rules, pids={"b": frozenset()})
        assert placed(rules, places, "bc").engines["b"] == ()


def test_an_engine_that_comes_to_a_gpu_is_found_there() -> None:
    home = looks({}, {0: (1,), 1: ()}, LOOKS, pids=WITHOUT)
    there = looks(home, {0: (1,), 1: (3,)}, LOOKS, from_s=20.0)
    assert there["b"] == Place(("GPU-1",), at(20.0))
    assert moved_since_s(home, there, "b") == 20.0
    forwarded = looks({}, {0: (1,), 1: (3,)}, LOOKS, pids=WITHOUT)
    same = looks(forwarded, {0: (1,), 1: (3,)}, from_s=20.0)
    assert (same["b"].unclaimed, moved_since_s(forwarded, same, "b")) == (False, None)
    unknown = looks(home, {0: (1,), 1: ()}, from_s=20.0, pids=PIDS)
    assert placed(RULES, unknown, "ab").engines["b"] is None, "it opened a GPU, and the driver does not tell which"


def test_an_engine_that_was_seen_on_a_gpu_stays_there_while_it_has_none_open() -> None:
    home = looks({}, {0: (1,), 1: (3,)})
    assert looks(home, {0: (1,), 1: ()}, 9, from_s=9.0, pids=WITHOUT) == home


def test_an_instance_that_is_not_there_any_more_is_nobodys_place() -> None:
    def seen(places: Places, *uuids: str, error: str | None = None) -> Places:
        instances = tuple(Instance(u, 1e10, residents=(1,)) for u in uuids)
        for n in range(LOOKS):
            readings = [Reading(gpu(0), at(0.0), instances=instances), Reading(gpu(1), at(0.0), error=error)]
            places = look(places, readings, PIDS, RULES, at(float(n)))
        return places

    home = seen({}, "MIG-1")
    assert seen(home, "MIG-2")["a"].gpus == ("MIG-2",)
    assert seen(home, "MIG-2", error="GPU is lost")["a"].gpus == ("MIG-1", "MIG-2"), "it may be on that one"


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
