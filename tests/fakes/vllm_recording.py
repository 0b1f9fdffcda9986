"""What tests/fakes/vllm_record.py wrote, read back: pages, spans as they were sent, and the client's own count."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from agent.books import Observed
from agent.engines.page import read_page
from agent.health import Health
from agent.model import Device, DeviceKind, EngineSample, Instant, Reading, RequestSpan
from agent.otlp.decode import PROTOBUF
from agent.otlp.receiver import Receiver
from agent.settings import EngineSettings

FOLDER = Path(__file__).parents[1] / "data" / "vllm_cpu"
ENGINE = EngineSettings("chat", "http://127.0.0.1:8000")
GPU = Device(DeviceKind.GPU, "GPU-0")
IDLE_W, BUSY_W = 100.0, 400.0


@dataclass(frozen=True, slots=True)
class Told:
    """A request by its client's word; asked: tokens of its prompt. None: the client left."""

    request_id: str
    asked: int
    cached: int | None
    generated: int | None
    n: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Times in Unix seconds. busy: from and to when any request was under way."""

    pages: tuple[tuple[float, bytes], ...]
    exports: tuple[tuple[float, bytes], ...]
    busy: tuple[tuple[float, float], ...]
    answers: tuple[Told, ...]

    def samples(self) -> list[EngineSample]:
        base_s = self.pages[0][0]
        return [
            read_page(page, engine=ENGINE.name, at=Instant(at_s - base_s, at_s), kind="auto", model="", custom={})
            for at_s, page in self.pages
        ]

    def spans(self) -> list[tuple[float, RequestSpan]]:
        """When each one came, and what the receiver made of it."""
        found = []
        for at_s, body in self.exports:
            receiver = Receiver((ENGINE,), Health(), lambda: 0.0)
            assert receiver.receive(PROTOBUF, "", body).status == 200
            found += [(at_s, span) for span in receiver.drain()]
        return found

    def used_j(self, from_s: float, to_s: float) -> float:
        """Joules of a GPU that draws BUSY_W while any request is under way, else IDLE_W."""
        busy_s = sum(max(0.0, min(b, to_s) - max(a, from_s)) for a, b in self.busy)
        return IDLE_W * (to_s - from_s) + (BUSY_W - IDLE_W) * busy_s

    def ticks(self, after_s: float) -> list[Observed]:
        """What an agent beside it sees every second, until so long after the last page."""
        first_s = self.pages[0][0]
        seconds = int(self.pages[-1][0] - first_s + after_s)
        samples, spans = self.samples(), self.spans()
        out = []
        for n in range(seconds):
            at = Instant(float(n), first_s + n)
            since_s = at.wall_s - 1.0
            out.append(
                Observed(
                    at,
                    (Reading(GPU, at, energy_j=self.used_j(first_s, at.wall_s), max_power_w=700.0, index=0),),
                    tuple(s for s in samples if since_s < s.at.wall_s <= at.wall_s),
                    spans=tuple(span for at_s, span in spans if since_s < at_s <= at.wall_s),
                )
            )
        return out


@cache
def recording() -> Recording:
    told = json.loads((FOLDER / "told.json").read_text())
    pages = [gzip.decompress(p.read_bytes()) for p in sorted(FOLDER.glob("page_*.prom.gz"))]
    exports = [p.read_bytes() for p in sorted(FOLDER.glob("spans_*.pb"))]
    return Recording(
        tuple(zip(told["pages_at_s"], pages, strict=True)),
        tuple(zip(told["spans_at_s"], exports, strict=True)),
        tuple((a, b) for (a, begins), (b, _) in pairwise(told["busy"]) if begins),
        tuple(Told(a["request_id"], a["asked"], a["cached"], a["generated"], a["n"]) for a in told["answers"]),
    )
