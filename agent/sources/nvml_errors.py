"""What to do about each NVML return code.

Codes and their meaning: NVIDIA's nvml.h (nvmlReturn_t). The policy is Joulecar's: a code that says "never" turns a
capability off, one that says "not now" is asked again later, one that says "this GPU is gone" touches no other GPU,
and one that says "the driver is not the one you opened" opens it again.
"""

from __future__ import annotations

from enum import Enum

from agent.errors import JoulecarError, ReadFailed, Unavailable


class Action(Enum):
    OFF = "off"  # this GPU cannot tell this: do not ask again
    LATER = "later"  # not this time: ask again, less and less often
    GONE = "gone"  # this GPU is not there: leave it out and look for it by UUID
    REOPEN = "reopen"  # the library has to be closed and opened again
    ABSENT = "absent"  # there is no driver library on this machine, now


SUCCESS = 0
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
LIB_RM_VERSION_MISMATCH = 18
NOT_READY = 27

_TEXT = {
    SUCCESS: "no data",  # nvidia-ml-py raises "error 0" for an empty list
    1: "not initialised",
    2: "invalid argument",
    NOT_SUPPORTED: "not supported",
    NO_PERMISSION: "no permission",
    NOT_FOUND: "not found",
    8: "external power is missing",
    DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    10: "timeout",
    11: "interrupt problem",
    LIBRARY_NOT_FOUND: "no NVIDIA driver here (libnvidia-ml.so.1 not found)",
    13: "unknown to this driver",
    15: "GPU is lost",
    16: "GPU needs a reset",
    17: "blocked by the operating system",
    LIB_RM_VERSION_MISMATCH: "driver library and kernel module are of different versions",
    23: "insufficient resources",
    25: "argument version mismatch",
    NOT_READY: "not ready",
    28: "GPU not found",
    29: "GPU is in an invalid state",
    999: "unknown error",
}

_ACTION = {
    1: Action.REOPEN,
    2: Action.GONE,  # a handle that the driver does not know any more
    NOT_SUPPORTED: Action.OFF,
    NO_PERMISSION: Action.OFF,
    DRIVER_NOT_LOADED: Action.REOPEN,
    LIBRARY_NOT_FOUND: Action.ABSENT,
    13: Action.OFF,
    15: Action.GONE,
    16: Action.GONE,
    17: Action.OFF,
    LIB_RM_VERSION_MISMATCH: Action.REOPEN,
    25: Action.OFF,
    28: Action.GONE,
    29: Action.GONE,
}

_FIX = {
    DRIVER_NOT_LOADED: "load the kernel module: nvidia-smi must work on the host (modprobe nvidia)",
    LIBRARY_NOT_FOUND: (
        "install the NVIDIA driver, or in a container use the nvidia runtime (docker run --gpus all, "
        "runtimeClassName: nvidia) with NVIDIA_VISIBLE_DEVICES=all and NVIDIA_DRIVER_CAPABILITIES=utility; "
        "it is looked for again every 30 s"
    ),
    LIB_RM_VERSION_MISMATCH: (
        "the driver was upgraded under a running system: reload the nvidia kernel module or reboot; "
        "a container that has the old library mounted must be started again"
    ),
}
_ANY_FIX = "nvidia-smi should show what is wrong; the kernel's log (dmesg, Xid) says more"


class NvmlFailure(Exception):  # noqa: N818 - an answer of the driver, named as such
    """One NVML call that did not succeed. Never leaves the nvml modules: it becomes a Reading's error, a Finding,
    Unavailable or ReadFailed."""

    def __init__(self, code: int, call: str) -> None:
        super().__init__(f"{call}: {describe(code)}")
        self.code = code
        self.call = call

    @property
    def action(self) -> Action:
        return _ACTION.get(self.code, Action.LATER)

    @property
    def text(self) -> str:
        """The same for the same code, so that it may stand in a log once and in a label."""
        return describe(self.code)

    @property
    def fix(self) -> str:
        return _FIX.get(self.code, _ANY_FIX)

    def for_source(self) -> JoulecarError:
        """As the failure of the source as a whole."""
        if self.code in _FIX:
            return Unavailable(self.text, self.fix)
        return ReadFailed(f"{self.call}: {self.text}")


def describe(code: int) -> str:
    """A code for people, number included: what they search for."""
    return f"{_TEXT.get(code, 'error')} (NVML {code})"
