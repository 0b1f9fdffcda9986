"""What the books hold: energy, tokens and requests."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters.family import ENGINE_MODEL, Family, Row, Theme


def energy(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.energy_j.items()


def energy_pending(s: Snapshot) -> Iterator[Row]:
    for kind, energy_j in s.pending_j.items():
        yield (kind,), energy_j


def tokens(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.tokens.items()


def requests(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.requests.items()


LEDGER = Theme(
    "Energy, tokens, requests",
    (
        Family(
            "joulecar_energy_joules_total",
            "counter",
            "joules",
            ("engine", "model", "use", "kind"),
            "Energy by what it was used for. Every joule of the devices is in exactly one series.",
            energy,
            "Prefill and decode are told apart by weights: w = prefill_weight x prompt_computed + generated.",
        ),
        Family(
            "joulecar_energy_pending_joules",
            "gauge",
            "joules",
            ("kind",),
            "Energy that waits for the tokens it was spent on; it moves to joulecar_energy_joules_total.",
            energy_pending,
            "Engines that book tokens at the end of a request, or late scrapes, make energy wait. Bounded by "
            "`attribution.max_pending`.",
        ),
        Family(
            "joulecar_tokens_total",
            "counter",
            "tokens",
            (*ENGINE_MODEL, "type"),
            "Tokens that the engine counted, summed over its ranks and workers.",
            tokens,
            "Absent where the engine does not tell that type; an engine's restart neither loses nor repeats any.",
        ),
        Family(
            "joulecar_requests_total",
            "counter",
            "requests",
            (*ENGINE_MODEL, "outcome"),
            "Requests that ended.",
            requests,
        ),
    ),
)
