"""A powercap tree in a temporary folder, as the kernel lays it out: zones nested, and a class folder of links."""

from __future__ import annotations

import shutil
from pathlib import Path

RANGE_UJ = 262_143_328_850  # 0xffffffff units of 61.035 uJ


class PowercapTree:
    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.tree = sysfs / "devices" / "virtual" / "powercap"
        self.links = sysfs / "class" / "powercap"

    def zone(self, zone: str, name: str, energy_uj: int | str, range_uj: int | None = RANGE_UJ) -> Path:
        """zone: "intel-rapl:0", "intel-rapl:0:1", "intel-rapl-mmio:0". Its folder."""
        control, *numbers = zone.split(":")
        folder = self.tree / control / f"{control}:{numbers[0]}"
        if len(numbers) == 2:
            folder = folder / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.links.mkdir(parents=True, exist_ok=True)
        for linked in (folder, self.tree / control):
            link = self.links / linked.name
            if not link.is_symlink():
                link.symlink_to(linked)
        return folder

    def constraint(self, folder: Path, i: int, name: str, *, limit_uw: int, max_uw: int | None = None) -> None:
        (folder / f"constraint_{i}_name").write_text(f"{name}\n")
        (folder / f"constraint_{i}_power_limit_uw").write_text(f"{limit_uw}\n")
        if max_uw is not None:
            (folder / f"constraint_{i}_max_power_uw").write_text(f"{max_uw}\n")

    def remove(self, folder: Path) -> None:
        shutil.rmtree(folder)
        for link in self.links.iterdir():
            if not link.exists():
                link.unlink()


def server(sysfs: Path) -> PowercapTree:
    """Two Intel sockets with all that such a server shows: core, dram, psys and the mmio twin."""
    tree = PowercapTree(sysfs)
    for socket in (0, 1):
        package = tree.zone(f"intel-rapl:{socket}", f"package-{socket}", 1_000_000 * (socket + 1))
        tree.constraint(package, 0, "long_term", limit_uw=205_000_000, max_uw=205_000_000)
        tree.constraint(package, 1, "short_term", limit_uw=246_000_000, max_uw=376_000_000)
        tree.zone(f"intel-rapl:{socket}:0", "core", 500_000)
        tree.zone(f"intel-rapl:{socket}:1", "dram", 250_000, range_uj=65_712_999_613)
    tree.zone("intel-rapl:2", "psys", 9_000_000)
    tree.zone("intel-rapl-mmio:0", "package-0", 1_000_000)
    return tree
