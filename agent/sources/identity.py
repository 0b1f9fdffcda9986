"""What the hardware's counters are relative to: this boot of the kernel, and the GPU driver that is loaded."""

from __future__ import annotations

from pathlib import Path

from agent.remember import Identity

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DRIVER = Path("module/nvidia/version")


def identity(sysfs: Path, boot_id: Path = BOOT_ID) -> Identity:
    """ "" for what cannot be read: then nothing is taken over from an earlier run that depends on it."""
    return Identity(_text(boot_id), _text(sysfs / DRIVER))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()[:100]
    except (OSError, UnicodeDecodeError):
        return ""
