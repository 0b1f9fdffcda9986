"""What this process may do on its machine, and which of it measuring needs.

Nothing needs more than an ordinary user but two things: RAPL's energy_uj, which Linux gives to its owner (root) alone
since CVE-2020-8694, and the processes of other users' engines. So of all capabilities two are of use, and user 0
needs not even the first: it owns the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.ports import Finding

# Bits of CapEff (include/uapi/linux/capability.h), and what the agent does with them.
DAC_READ_SEARCH = 2
SYS_PTRACE = 19
USES = {
    DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH reads energy_uj (RAPL)",
    SYS_PTRACE: "CAP_SYS_PTRACE sees the processes of other users' engines",
}

_FIX_TOO_MANY = (
    "drop them: systemd CapabilityBoundingSet=, containers cap_drop ALL. For energy_uj user 0 needs none, since the "
    "file is root's, and with deploy/systemd/60-joulecar-rapl.rules no user needs any"
)
_FIX_PTRACE = (
    "grant CAP_SYS_PTRACE (deploy/systemd/joulecar.service.d/several-engines.conf; in a container the host's PID "
    "namespace, too), or run the agent as the engines' user"
)


@dataclass(frozen=True, slots=True)
class Rights:
    """Effective user and capabilities (bit numbers) of a process."""

    user: int
    capabilities: frozenset[int]


def parse(status: str) -> Rights | None:
    """The text of /proc/PID/status. None: it does not tell."""
    users = re.search(r"^Uid:\s+\d+\s+(\d+)", status, re.MULTILINE)
    mask = re.search(r"^CapEff:\s+([0-9a-fA-F]+)", status, re.MULTILINE)
    if users is None or mask is None:
        return None
    bits = int(mask[1], 16)
    return Rights(int(users[1]), frozenset(n for n in range(bits.bit_length()) if bits >> n & 1))


def own(proc: Path = Path("/proc")) -> Rights | None:
    """This process's rights; None where they cannot be read."""
    try:
        return parse((proc / "self" / "status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None


def findings(rights: Rights | None, *, local_engines: int) -> Sequence[Finding]:
    """For `joulecar check`. local_engines: engines on this machine; two of them may have to share a GPU or CPU."""
    if rights is None:
        return ()
    of_use = [what for bit, what in USES.items() if bit in rights.capabilities]
    others = len(rights.capabilities - set(USES))
    held = [*of_use, *([f"{others} capabilities that measuring does not need"] if others else [])]
    detail = "; ".join(held) or "no capability, as it should be"
    found = [Finding(f"user {rights.user}", ok=not others, detail=detail, fix=_FIX_TOO_MANY if others else "")]
    if local_engines > 1 and SYS_PTRACE not in rights.capabilities:
        why = "not held: engines of other users share a GPU or CPU by tokens, since their processes cannot be seen"
        found.append(Finding("CAP_SYS_PTRACE", ok=False, detail=why, fix=_FIX_PTRACE))
    return tuple(found)
