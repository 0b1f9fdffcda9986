"""Devices: their energy and power, and the time for which it is not known."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters.family import Family, Row, Theme


def device_info(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        index = "" if d.index is None else str(d.index)
        yield (d.device.key, d.device.kind, d.name, index, d.method), 1.0


def device_energy(s: Snapshot) -> Iterator[Row]:
    for device, energy_j in s.ledger.device_energy_j.items():
        yield (device.key, device.kind), energy_j


def device_power(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        yield (d.device.key, d.device.kind), d.power_w


def device_gap(s: Snapshot) -> Iterator[Row]:
    for (device, reason), gap_s in s.ledger.gap_s.items():
        yield (device.key, device.kind, reason), gap_s


def counter_to_power_ratio(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        yield (d.device.key,), d.counter_to_power_ratio


DEVICES = Theme(
    "Devices",
    (
        Family(
            "joulecar_device_info",
            "gauge",
            "always 1",
            ("device", "kind", "name", "index", "method"),
            "Devices that are metered, and how their energy is known.",
            device_info,
            "Join with `* on (device) group_left (name, method)`.",
        ),
        Family(
            "joulecar_device_energy_joules_total",
            "counter",
            "joules",
            ("device", "kind"),
            "Energy that the device used, as its counter tells it, or integrated or estimated where it has none.",
            device_energy,
            "A reset or wrap of the hardware's counter adds nothing here and takes nothing away. "
            "RAPL sub-domains (core, uncore) and psys are never added: they are inside others.",
        ),
        Family(
            "joulecar_device_power_watts",
            "gauge",
            "watts",
            ("device", "kind"),
            "Power of the device now.",
            device_power,
            "Absent at a tick at which the device did not say.",
        ),
        Family(
            "joulecar_device_gap_seconds_total",
            "counter",
            "seconds",
            ("device", "kind", "reason"),
            "Time for which the device's energy is not known and is in no other series.",
            device_gap,
            "Anything above 0 means that the joules are a lower bound by that much time.",
        ),
        Family(
            "joulecar_device_energy_to_power_ratio",
            "gauge",
            "ratio",
            ("device",),
            "Energy by the device's counter divided by its own power readings integrated over the same time.",
            counter_to_power_ratio,
            "The sensors are off by up to about 5%; far from 1 means that one of the two cannot be trusted.",
        ),
    ),
)
