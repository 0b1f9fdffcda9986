"""The wiring: settings in, a running agent out. The only place that knows every concrete part."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import TracebackType

from agent.accounts import Rules
from agent.books import Policy
from agent.engine_processes import Processes, is_local
from agent.engines.scrape import HttpEngineReader
from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids import joulecar
from agent.grids.feed import Feed, Pace
from agent.grids.keep import Keep
from agent.grids.place import Place, Told, look
from agent.grids.table import LiveKind, choose, live
from agent.health import Health
from agent.instances import is_instance
from agent.keeper import open_keeper
from agent.loop import EngineReply, Loop, World
from agent.model import GridIntensity, Instant, Part, Snapshot
from agent.opening import Kept
from agent.otlp.receiver import PATH as TRACES_PATH
from agent.otlp.service import Spans
from agent.poll import Poller
from agent.ports import Clock, GridProvider, Source
from agent.pricing import Site
from agent.recorder import Recorder
from agent.requests import RequestRules
from agent.sensors import NODE_KINDS, Sensors
from agent.settings import EngineSettings, ProviderSettings, Settings
from agent.sources.host import HostSource
from agent.sources.nvml import NvmlSource
from agent.sources.nvml_device import Wants
from agent.sources.rapl import RaplSource
from agent.sources.selfshare import SelfCpu
from agent.supply import Prices, marginal_feed
from exporters.http_thread import HttpThread
from exporters.intake import IntakeServer
from exporters.requests_json import PATH as REQUESTS_PATH
from exporters.requests_json import requests_json
from exporters.server import HttpServer

log = logging.getLogger("joulecar")

GRID_BEAT_S = 5.0  # how often it is looked whether a live source is due
FORWARD_BEAT_S = 1.0
STALE_TICKS = 5  # this many intervals without a new snapshot: not alive


def policy(settings: Settings) -> Policy:
    """What the arithmetic needs of the settings."""
    return Policy(
        rules=Rules(
            engines={e.name: e.gpus for e in settings.engines},
            finds=frozenset(e.name for e in settings.engines if e.find_gpus),
            prefill_weight=settings.attribution.prefill_weight,
            node_shared=settings.attribution.node == "shared",
            max_pending_s=settings.attribution.max_pending_s,
            window_s=settings.agent.window_s,
        ),
        site=site(settings),
        embodied=settings.site.embodied,
        windows=settings.headline.windows,
        requests=None if settings.otlp is None else request_rules(settings),
    )


def request_rules(settings: Settings) -> RequestRules:
    """How spans are attributed. They outwait the books, which keep nothing for longer than max_pending."""
    window_s = settings.agent.window_s
    longest_s = settings.attribution.max_pending_s
    rules = RequestRules(patience_s=longest_s + 3 * window_s, grace_s=2 * window_s, max_grace_s=longest_s)
    if (otlp := settings.otlp) is None:
        return rules
    return replace(rules, memory_s=otlp.memory_s, group_by=otlp.group_by, max_groups=otlp.max_groups)


def site(settings: Settings) -> Site:
    """What the building and the contract add to the joules."""
    s = settings.site
    currency = s.price.currency if s.price is not None else ""
    return Site(s.pue, s.node_overhead_w, s.grid_loss, s.market_g_per_kwh, s.wue_l_per_kwh, currency)


def sources(settings: Settings, clock: Clock) -> tuple[list[Source], HostSource | None]:
    """The measuring sources that are switched on, and the estimate for what they do not measure."""
    on = settings.sources
    crowd = 1 if settings.attribution.foreign == "auto" else 2
    measuring: list[Source] = []
    if on.nvml != "off":
        wants = Wants(
            processes=lambda uuid: _engines_on(uuid, settings.engines) >= crowd,
            activity=lambda uuids: _on_instances(uuids, settings.engines) >= crowd,
            residents=any(e.find_gpus and is_local(e) for e in settings.engines),
        )
        measuring.append(NvmlSource(clock, wants=wants))
    if on.rapl != "off":
        measuring.append(RaplSource(on.sysfs, clock))
    estimate = None if on.host == "off" else HostSource(clock, kinds=NODE_KINDS, cpu_tdp_w=on.cpu_tdp_w)
    return measuring, estimate


def _engines_on(uuid: str, engines: Sequence[EngineSettings]) -> int:
    """How many engines may be on this GPU; 0 if the processes of one of them cannot be found, since it is elsewhere.
    Indices are not resolved: asking once too often costs only time."""
    here = [e for e in engines if e.gpus is None or uuid in e.gpus or any(isinstance(i, int) for i in e.gpus)]
    return len(here) if all(is_local(e) for e in here) else 0


def _on_instances(uuids: Collection[str], engines: Sequence[EngineSettings]) -> int:
    """How many engines may be on this GPU, of which instances have these UUIDs, too; 0 if none can be on an instance.
    Where they run does not matter: the driver tells how busy an instance is, whoever uses it."""
    here = [e for e in engines if e.gpus is None or any(g in uuids or isinstance(g, int) for g in e.gpus)]
    return len(here) if any(e.find_gpus or any(is_instance(g) for g in e.gpus or ()) for e in here) else 0


def required(settings: Settings) -> frozenset[str]:
    """Sources whose absence is a fault, since the configuration says "on"."""
    on = settings.sources
    return frozenset(n for n, s in (("nvml", on.nvml), ("rapl", on.rapl), ("host", on.host)) if s == "on")


def constant(settings: Settings, at: Instant, health: Health) -> GridIntensity | None:
    """The fixed or yearly figure, if one is configured. What is wrong with it is told."""
    provider = choose(settings.grid)
    if provider is None:
        return None
    try:
        told = provider.fetch(settings.grid.zone or "", at)
    except Unavailable as e:
        health.failed(Part.GRID, provider.name, e.reason, e.fix)
        return None
    except ReadFailed as e:
        health.failed(Part.GRID, provider.name, e.reason)
        return None
    health.ok(Part.GRID, provider.name, at.wall_s)
    return told[-1] if told else None


def feed(settings: Settings, figure: GridIntensity | None, clock: Clock, health: Health) -> Feed | None:
    """What asks the configured live source; None: none is configured, so nothing outside is asked."""
    kind = live(settings.grid)
    if kind is None:
        return None
    pace = Pace(kind.every_s, random.SystemRandom().random)
    provider = live_provider(settings, kind, clock)
    folder, zone = settings.agent.state_dir, settings.grid.zone or ""
    region = settings.grid.tables.get(kind.name, ProviderSettings()).region
    keep = None if folder is None else Keep(folder, kind.name, zone, region)
    return Feed(provider, zone, figure, pace, clock, health, keep, signal="average")


def live_provider(settings: Settings, kind: LiveKind, clock: Clock) -> GridProvider:
    """The live source with the settings of its own table."""
    from agent.grids.client import HttpxClient  # noqa: PLC0415 - an agent without a live source does without

    return kind.build(settings.grid.tables.get(kind.name, ProviderSettings()), HttpxClient(clock))


class Agent:
    """Everything that runs: pollers, the loop in the caller's thread, and the HTTP server."""

    def __init__(self, settings: Settings, clock: Clock, *, record: Path | None = None, serve: bool = True) -> None:
        self.settings = settings
        self.health = Health()
        self._clock = clock
        self._pollers = [self._poller(e, keep_page=record is not None) for e in settings.engines]
        measuring, estimate = sources(settings, clock)
        processes = Processes(settings.engines, clock)
        rules = policy(settings)
        kept = Kept(rules, settings.engines, metadata.version("joulecar"))
        self._recorder = None if record is None else Recorder(record, self.health, settings.agent.record, kept)
        self.place = Place(settings, self._told, partial(look, settings.grid, clock), clock, self.health)
        self._prices = Prices(settings, clock, self.health)
        self._keeper = open_keeper(settings, rules, clock, self.health, self.place.final)
        self._spans = Spans(settings.otlp, settings.engines, clock, self.health) if settings.otlp else None
        world = World(
            Sensors(measuring, estimate, self.health, required=required(settings)),
            [p.cell for p in self._pollers],
            grid=self.place.known,
            cpu_s=processes.cpu_s,
            pids=processes.pids,
            own_cpu=SelfCpu().read,
            prices=self._prices.known,
            located=lambda: self.place.located,
            spans=self._spans.drain if self._spans else tuple,
            end=self._spans.end if self._spans else lambda: None,
        )
        self.loop = Loop(
            clock,
            world,
            rules,
            self.health,
            interval_s=settings.agent.interval_s,
            urls={e.name: e.url for e in settings.engines},
            record=self._recorder,
            keeper=self._keeper,
            attributed=self._spans.attributed if self._spans else None,
            refused=self._spans.refused if self._spans else None,
        )
        self.server = self._http_server() if serve else None
        self.intake = self._intake() if serve else None

    def _told(self, settings: Settings) -> Told:
        """What tells the intensity of the settings' zone."""
        figure = constant(settings, self._clock.now(), self.health)
        average = feed(settings, figure, self._clock, self.health)
        return Told(figure, average, marginal_feed(settings, self._clock, self.health))

    def _poller(self, engine: EngineSettings, *, keep_page: bool) -> Poller[EngineReply]:
        reader = HttpEngineReader(engine, self._clock, keep_page=keep_page)
        return Poller(engine.name, reader.sample, self._clock, engine.every_s)

    def _http_server(self) -> HttpServer:
        documents = {joulecar.PATH: self.grid_json}
        answers = {REQUESTS_PATH: self.requests_json} if self._spans else {}
        return HttpServer(
            self.settings.server, self, self.not_alive, self.not_ready, documents=documents, answers=answers
        )

    def _intake(self) -> IntakeServer | None:
        """What spans are posted to, where any are wanted."""
        if self.settings.otlp is None or self._spans is None:
            return None
        otlp = self.settings.otlp
        return IntakeServer(otlp.server, TRACES_PATH, self._spans.receive, max_body=otlp.max_body)

    def snapshot(self) -> Snapshot:
        return self.loop.snapshot()

    def grid_json(self) -> bytes:
        """The intensities known now, and what was told last of the days before, for other agents:
        agent/grids/joulecar.py has the format."""
        now = self._clock.now()
        average = [e for e in self.place.known(now) if e.signal == "average"]
        return joulecar.encode(joulecar.shared(average, self.place.final(), now.wall_s))

    def requests_json(self, query: Mapping[str, str]) -> tuple[int, bytes]:
        """The energy of recent requests: exporters/requests_json.py has the format."""
        return requests_json(self.loop.recent_requests(), query)

    def not_alive(self) -> str | None:
        """Why the agent should be restarted; None: the loop ticks."""
        age_s = self._clock.now().mono_s - self.snapshot().at.mono_s
        limit_s = max(STALE_TICKS * self.settings.agent.interval_s, 15.0)
        return f"no tick for {age_s:.0f} s" if age_s > limit_s else None

    def not_ready(self) -> str | None:
        """Why a scrape would show nothing yet."""
        if why := self.not_alive():
            return why
        parts = {(p.part, p.name): p for p in self.snapshot().parts}
        missing = [n for n in sorted(required(self.settings)) if not _up(parts.get((Part.SOURCE, n)))]
        if missing:
            return f"required sources are down: {', '.join(missing)}"
        return None if self.snapshot().devices else "no device has been read yet"

    def __enter__(self) -> Agent:
        if self.server is not None:
            serve(self.server)
        if self.intake is not None:
            serve(self.intake)
        for poller in self._pollers:
            poller.start()
        steps = dict(self.place.steps())
        if self._prices.step is not None:
            steps["price"] = self._prices.step
        if self._spans is not None and self._spans.forward is not None:
            Poller("forward", self._spans.forward, self._clock, FORWARD_BEAT_S).start()
        for name, step in steps.items():
            Poller(name, step, self._clock, GRID_BEAT_S).start()
        if self.settings.agent.state_dir is not None:
            Poller("checkpoint", self._keeper.checkpoint, self._clock, self.settings.agent.window_s).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for server in (self.server, self.intake):
            if server is not None:
                server.stop()
        if self._spans is not None:
            self._spans.finish()
        if self._recorder is not None:
            self._recorder.close()
        self._keeper.close()

    def run(self) -> None:
        """Measure until the clock is stopped; the last window is booked before this returns."""
        self.loop.run()


def serve(server: HttpThread) -> None:
    """Start to serve. Raises JoulecarError: the address is taken or not ours, a certificate cannot be used."""
    try:
        server.start()
    except OSError as e:
        raise JoulecarError(e.strerror or str(e)) from e
    except ValueError as e:
        raise JoulecarError(str(e)) from e


def _up(part: object) -> bool:
    return bool(getattr(part, "up", False))
