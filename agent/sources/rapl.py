"""CPU and memory energy from the processor's own counters (RAPL), through Linux powercap.

What is read: top zones named package-N or package-N-die-M, and their dram sub-zones. What is never read, since it
would count a joule twice: core and uncore (inside the package), psys (the package and more), the intel-rapl-mmio twin,
and a second zone of the same name. AMD processors show their packages in the same place, without dram.

Units and limits, from the kernel's drivers/powercap/{powercap_sys,intel_rapl_common}.c: energy_uj counts microjoules,
is readable by root alone (mode 0400, CVE-2020-8694), and max_energy_range_uj is 0xffffffff units, so that the counter
wraps at one unit more.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import Unavailable
from agent.model import Device, DeviceKind, Method, Reading
from agent.ports import Clock, Finding
from agent.units import UJ_PER_J, UW_PER_W

ReadText = Callable[[Path], str]

RESCAN_S = 30.0  # how often new zones are looked for, and changed limits read

_ZONE = re.compile(r"(?P<control>intel-rapl(?:-[a-z]+)?):(?P<top>\d+)(?::(?P<sub>\d+))?")
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
_MAX_CONSTRAINTS = 8
_UNITS_OF_RANGE = 2**32 - 1

_FIX_PERMISSION = (
    "Linux lets root alone read energy_uj (CVE-2020-8694). One of: on the host, deploy/systemd/60-joulecar-rapl.rules, "
    "which lets the group 10001 (joulecar-rapl; the container image's own) read it; the capability "
    "CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH); or user 0, which needs no capability "
    "for it, but must be the host's own root"
)
_FIX_MASKED = (
    "container runtimes hide powercap: mount the host's /sys/devices/virtual read-only at "
    '/host/sys/devices/virtual and set sources.sysfs = "/host/sys"; then read it as user 0 (no capability needed), or '
    "as the group of deploy/systemd/60-joulecar-rapl.rules"
)
_FIX_ABSENT = (
    "on bare metal load the driver (modprobe intel_rapl_msr, also for AMD); in a container mount the host's "
    "/sys/devices/virtual and set sources.sysfs; a virtual machine has no RAPL, so the CPU is estimated there"
)


def read_text(path: Path) -> str:
    """A small sysfs file. Errors: OSError."""
    with path.open("rb", buffering=0) as file:  # a third of read_text's time, and this runs at every tick
        return file.read(256).decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class _Zone:
    device: Device
    counter: Path
    wraps_at_j: float | None
    max_power_w: float | None


@dataclass(frozen=True, slots=True)
class _Scan:
    """What one look at the tree gave."""

    zones: tuple[_Zone, ...] = ()
    left_out: tuple[Finding, ...] = ()
    masked: bool = False  # links that lead nowhere: a container's view
    error: str = ""


class RaplSource:
    """Reads the energy counters of every package and its memory. sysfs is the machine's /sys, or where a container
    has the host's."""

    def __init__(
        self,
        sysfs: Path,
        clock: Clock,
        *,
        read_text: ReadText = read_text,
        rescan_s: float = RESCAN_S,
    ) -> None:
        self._sysfs = sysfs
        self._clock = clock
        self._read_text = read_text
        self._rescan_s = rescan_s
        self._known: dict[Device, _Zone] = {}
        self._scan: _Scan | None = None
        self._next_scan_s = float("-inf")

    @property
    def name(self) -> str:
        return "rapl"

    def probe(self) -> Sequence[Finding]:
        scan = self._look()
        if not scan.zones:
            missing = self._unavailable(scan)
            nothing = Finding("powercap", ok=False, detail=missing.reason, fix=missing.fix)
            return (nothing, *scan.left_out)
        return (*(self._finding(zone) for zone in scan.zones), *scan.left_out)

    def read(self) -> Sequence[Reading]:
        """One reading per zone. Raises Unavailable while no zone has ever been seen."""
        now_s = self._clock.now().mono_s
        if self._scan is None or now_s >= self._next_scan_s:
            self._scan = self._look()
            self._known.update({zone.device: zone for zone in self._scan.zones})
            self._next_scan_s = now_s + self._rescan_s
        if not self._known:
            raise self._unavailable(self._scan)
        return tuple(self._read_zone(zone) for zone in self._known.values())

    def close(self) -> None:
        """Nothing is held open."""

    def _read_zone(self, zone: _Zone) -> Reading:
        at = self._clock.now()
        try:
            energy_uj = self._number(zone.counter)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR):
                self._next_scan_s = float("-inf")  # it may be back elsewhere: look again at the next read
            return Reading(zone.device, at, error=_say(error, zone.counter))
        except ValueError as error:
            return Reading(zone.device, at, error=str(error))
        return Reading(
            zone.device,
            at,
            energy_j=energy_uj / UJ_PER_J,
            wraps_at_j=zone.wraps_at_j,
            max_power_w=zone.max_power_w,
            name=zone.device.key,
        )

    def _finding(self, zone: _Zone) -> Finding:
        reading = self._read_zone(zone)
        key, kind = zone.device.key, zone.device.kind
        if reading.error is not None:
            fix = _FIX_PERMISSION if reading.error.startswith("permission denied") else ""
            return Finding(key, ok=False, kind=kind, method=Method.COUNTER, detail=reading.error, fix=fix)
        wrap = "range not told" if zone.wraps_at_j is None else f"wraps at {zone.wraps_at_j:.0f} J"
        limit = "" if zone.max_power_w is None else f", at most {zone.max_power_w:.0f} W"
        return Finding(key, ok=True, kind=kind, method=Method.COUNTER, detail=f"energy_uj, {wrap}{limit}")

    def _unavailable(self, scan: _Scan) -> Unavailable:
        where = self._sysfs / "class" / "powercap"
        if scan.error:
            return Unavailable(f"RAPL: {scan.error}", _FIX_PERMISSION)
        if scan.masked:
            return Unavailable(f"RAPL: the zones under {where} lead nowhere", _FIX_MASKED)
        return Unavailable(f"RAPL: no package zone under {where}", _FIX_ABSENT)

    # -- looking at the tree ------------------------------------------------------------------------------------

    def _look(self) -> _Scan:
        try:
            paths, masked = self._zone_folders()
        except OSError as error:
            return _Scan(error=_say(error, self._sysfs / "class" / "powercap"))
        zones: dict[Device, _Zone] = {}
        left_out: list[Finding] = []
        tops: dict[str, str] = {}  # "intel-rapl:0" -> its name
        for path in paths:
            match = _ZONE.fullmatch(path.name)
            assert match is not None
            try:
                label = self._read_text(path / "name").strip()
            except OSError as error:
                detail = _say(error, path / "name")
                left_out.append(Finding(path.name, ok=False, detail=detail, fix=_FIX_PERMISSION))
                continue
            top = f"{match['control']}:{match['top']}"
            if match["sub"] is None:
                tops[top] = label
            device, why = _device(match, label, tops.get(top, ""))
            if device is not None and device in zones:
                device, why = None, f"second zone named {label}: the first one is counted"
            if device is None:
                left_out.append(Finding(path.name, ok=True, detail=f"left out: {why}"))
                continue
            zones[device] = _Zone(
                device, path / "energy_uj", self._wraps_at_j(path), self._max_power_w(path, device.kind)
            )
        return _Scan(tuple(zones.values()), tuple(left_out), masked)

    def _zone_folders(self) -> tuple[list[Path], bool]:
        """Zone folders in the kernel's order, and whether some links lead nowhere. The class folder holds a link to
        every zone; a container that mounts powercap alone has only the tree itself."""
        listed = _zones_in(self._sysfs / "class" / "powercap")
        found = [path for path in listed if path.is_dir()]
        if not found:
            tops = _zones_in(self._sysfs / "devices" / "virtual" / "powercap" / "intel-rapl")
            found = [zone for top in tops for zone in (top, *_zones_in(top))]
        return sorted(found, key=_order), bool(listed) and not found

    def _wraps_at_j(self, path: Path) -> float | None:
        range_uj = self._number_or_none(path / "max_energy_range_uj")
        if not range_uj:
            return None
        return range_uj * (1 + 1 / _UNITS_OF_RANGE) / UJ_PER_J

    def _max_power_w(self, path: Path, kind: DeviceKind) -> float | None:
        """The largest limit of the zone, if its short-term limit (PL2) is among them; else None, since the
        long-term one alone is exceeded in every burst and would throw real joules away. Memory's limits are a
        typical value in firmware, not enforced: None."""
        if kind is not DeviceKind.CPU:
            return None
        limits_uw: list[int] = []
        short_term = False
        for i in range(_MAX_CONSTRAINTS):
            try:
                label = self._read_text(path / f"constraint_{i}_name").strip()
            except OSError:
                break
            values = (
                self._number_or_none(path / f"constraint_{i}_max_power_uw"),
                self._number_or_none(path / f"constraint_{i}_power_limit_uw"),
            )
            told = [value for value in values if value]
            limits_uw += told
            short_term = short_term or (bool(told) and label in ("short_term", "peak_power"))
        return max(limits_uw) / UW_PER_W if short_term else None

    def _number(self, path: Path) -> int:
        """A whole number. Errors: OSError, ValueError (an empty or garbled file is never 0)."""
        text = self._read_text(path).strip()
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{path} holds {text[:40]!r}, not a number")
        return int(text)

    def _number_or_none(self, path: Path) -> int | None:
        try:
            return self._number(path)
        except (OSError, ValueError):
            return None


def _device(match: re.Match[str], label: str, parent: str) -> tuple[Device | None, str]:
    """The device that a zone is, or why it is none."""
    if match["control"] != "intel-rapl":
        return None, f"{match['control']} shows {label} a second time"
    if match["sub"] is None:
        if _PACKAGE.fullmatch(label):
            return Device(DeviceKind.CPU, label), ""
        return None, f"{label} is not a package" + (", and holds the packages" if label == "psys" else "")
    if label != "dram":
        return None, f"{label} is a part of {parent or 'its package'}"
    if not _PACKAGE.fullmatch(parent):
        return None, f"{label} of {parent or 'an unnamed zone'}, which is not a package"
    return Device(DeviceKind.DRAM, f"{parent}-dram"), ""


def _zones_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _ZONE.fullmatch(path.name)]


def _order(path: Path) -> tuple[str, int, int]:
    match = _ZONE.fullmatch(path.name)
    assert match is not None
    return match["control"], int(match["top"]), int(match["sub"] or -1)


def _say(error: OSError, path: Path) -> str:
    if isinstance(error, PermissionError):
        return f"permission denied: {path}"
    if isinstance(error, FileNotFoundError):
        return f"{path} is gone"
    return f"{path}: {error.strerror or error}"
