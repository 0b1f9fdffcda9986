"""Embodied carbon: what making the hardware emitted, spread evenly over the life that is expected of it.

    M = TE * TiR/EL * RR/ToR

as SCI defines it (ISO/IEC 21031:2024): TE the emissions of making a device, TiR the time that it is reserved, EL the
life expected, RR/ToR the share of it that is reserved. Per second of being reserved that is TE / EL * RR/ToR, busy or
not. Bought compensation takes nothing off, the grid and PUE have no part in it, and a device whose TE nobody
has published adds nothing but its name to what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.embodied_table import GPUS, Footprint
from agent.embodied_table import server as published_server
from agent.model import Device, DeviceKind
from agent.settings import EmbodiedSettings

G_PER_KG = 1000.0
CONFIGURED = "the configuration"
SERVER = "server without GPUs"
S_PER_YEAR = 365.25 * 86_400.0

Line = tuple[str, bool, str, str]


@dataclass(frozen=True, slots=True)
class EmbodiedRates:
    """gCO2e per second of being reserved. sources: what each rate is made of, for people."""

    by_device: Mapping[Device, float] = field(default_factory=dict)  # GPUs whose footprint is known
    node_g_per_s: float = 0.0  # the server without its GPUs
    missing: tuple[str, ...] = ()  # what has no figure: GPU models by name, each once, and SERVER
    sources: tuple[str, ...] = ()

    @property
    def total_g_per_s(self) -> float:
        return self.node_g_per_s + sum(self.by_device.values())


def embodied_rates(devices: Sequence[tuple[Device, str]], settings: EmbodiedSettings | None) -> EmbodiedRates:
    """The rates of a machine's devices, each with the name that its driver gives. None: switched off, no rates.

    Only GPUs are told apart; processors, memory and all else are part of the server, which counts once. What has no
    figure adds nothing and stands in missing.
    """
    if settings is None:
        return EmbodiedRates()
    per_kg = G_PER_KG / settings.lifetime_s * settings.reserved_share
    by_device: dict[Device, float] = {}
    missing: dict[str, None] = {}
    sources: dict[str, None] = {}
    for device, name in devices:
        if device.kind is not DeviceKind.GPU:
            continue
        if (gpu := _gpu(name, settings)) is None:
            missing.setdefault(name or device.key)
        else:
            kg, source = gpu
            by_device[device] = kg * per_kg
            sources.setdefault(f"{name or device.key}: {kg:g} kgCO2e, {source}")
    node_g_per_s = 0.0
    gpus = sum(device.kind is DeviceKind.GPU for device, _ in devices)
    if (server := _server(gpus, settings)) is None:
        missing.setdefault(SERVER)
    else:
        kg, source = server
        node_g_per_s = kg * per_kg
        sources.setdefault(f"{SERVER}: {kg:g} kgCO2e, {source}")
    return EmbodiedRates(by_device, node_g_per_s, tuple(missing), tuple(sources))


def footprint(name: str) -> Footprint | None:
    """The published footprint of a GPU by the name that its driver gives; None: nobody has published one.

    A name must have all words of a row and none of those that make it another product.
    """
    words = frozenset(name.upper().replace("-", " ").replace("_", " ").split())
    return next((row for row in GPUS if row.words <= words and not row.but_not & words), None)


def _gpu(name: str, settings: EmbodiedSettings) -> tuple[float, str] | None:
    if settings.gpu_kgco2e is not None:
        return settings.gpu_kgco2e, CONFIGURED
    known = footprint(name)
    return None if known is None else (known.kgco2e, known.source)


def _server(gpus: int, settings: EmbodiedSettings) -> tuple[float, str] | None:
    return published_server(gpus) if settings.server_kgco2e is None else (settings.server_kgco2e, CONFIGURED)


def embodied_lines(devices: Sequence[tuple[Device, str]], settings: EmbodiedSettings | None) -> list[Line]:
    """What `joulecar check` says: subject, whether it is known, what is known, the fix. Nothing where it is off."""
    if settings is None:
        return []
    rates = embodied_rates(devices, settings)
    years = settings.lifetime_s / S_PER_YEAR
    lines: list[Line] = []
    if rates.sources:
        per_hour = f"{rates.total_g_per_s * 3600.0:.3g} gCO2e/h over {years:g} years"
        share = f", {settings.reserved_share:.0%} of it reserved" if settings.reserved_share < 1 else ""
        lines.append(("embodied", True, f"{per_hour}{share}: {'; '.join(rates.sources)}", ""))
    for name in rates.missing:
        key, whose = ("server_kgco2e", "of a server like this") if name == SERVER else ("gpu_kgco2e", "of this model")
        known = f"no published footprint {whose} is known: its embodied carbon is not counted"
        lines.append((name, False, known, f"set site.embodied.{key}, in kgCO2e"))
    return lines
