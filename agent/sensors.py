"""Reading every source at a tick: one that fails never hides the others."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import ReadFailed, Unavailable
from agent.health import Health
from agent.model import DeviceKind, Part, Reading
from agent.ports import Source
from agent.sources.host import HostSource

NODE_KINDS = frozenset({DeviceKind.CPU, DeviceKind.DRAM})
# NVML's counter of these can cover the whole module, CPU and memory included: an estimate would be booked twice.
MODULES = ("GH200", "GB200", "GB300", "Grace")


class Sensors:
    """The sources that measure, and the estimate for what none of them does.

    required: names of sources that the configuration says must be there; the absence of others is no fault.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        estimate: HostSource | None,
        health: Health,
        *,
        required: frozenset[str] = frozenset(),
    ) -> None:
        self._sources = tuple(sources)
        self._estimate = estimate
        self._health = health
        self._required = required
        self._measured: frozenset[DeviceKind] = frozenset()
        self._troubled: set[str] = set()  # devices whose last reading failed

    def read(self) -> tuple[Reading, ...]:
        readings = [r for source in self._sources for r in self._read(source)]
        # Once a sensor has measured a kind, the estimate never comes back for it: both would be booked.
        self._measured |= {r.device.kind for r in readings if r.error is None}
        if any(name in r.name for r in readings for name in MODULES):
            self._measured |= NODE_KINDS
        if self._estimate is not None:
            wanted = NODE_KINDS - self._measured
            if wanted != self._estimate.kinds:
                self._estimate.set_kinds(wanted)
            if wanted:
                readings.extend(self._read(self._estimate))
        return tuple(readings)

    def close(self) -> None:
        for source in (*self._sources, *([self._estimate] if self._estimate else [])):
            source.close()

    def _read(self, source: Source) -> Sequence[Reading]:
        try:
            readings = source.read()
        except Unavailable as e:
            told = self._health.failed if source.name in self._required else self._health.absent
            told(Part.SOURCE, source.name, e.reason, e.fix)
            return ()
        except ReadFailed as e:
            self._health.failed(Part.SOURCE, source.name, e.reason)
            return ()
        except Exception as e:
            # A driver's surprise must cost this one reading, not the agent.
            self._health.failed(Part.SOURCE, source.name, f"unexpected {type(e).__name__}: {e}")
            return ()
        for reading in readings:
            self._note(source.name, reading)
        good = [r for r in readings if r.error is None]
        if good:
            self._health.ok(Part.SOURCE, source.name, good[0].at.wall_s)
        elif readings:
            self._health.failed(Part.SOURCE, source.name, readings[0].error or "no device can be read")
        return readings

    def _note(self, source: str, reading: Reading) -> None:
        name = f"{source}/{reading.device.key}"
        if reading.error is not None:
            self._troubled.add(name)
            self._health.failed(Part.SOURCE, name, reading.error)
        elif name in self._troubled:
            self._troubled.discard(name)
            self._health.ok(Part.SOURCE, name, reading.at.wall_s)
