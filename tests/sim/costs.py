"""What a step of a made-up engine costs: seconds and joules, each with a known cause.

A step reads the weights once (joint: every sequence in it needs them), computes prompt tokens, computes one token for
each decoding sequence, and reads the keys and values of their contexts. Sizes are those of an H100, rounded: an 8B
model reads 16 GB at 3.3 TB/s in 5 ms, computes a token in 40 us, and draws 120 W loaded and idle.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds and joules above the idle floor. The floor flows all the time."""

    name: str
    idle_w: float
    step_s: float
    step_j: float  # reading the weights, launching the kernels
    prefill_s: float  # a prompt token
    prefill_j: float
    decode_s: float  # a generated token
    decode_j: float
    context_s: float  # a token of context of a decoding sequence
    context_j: float
    touched: float = 1.0  # the share of the weights that one token needs: below 1 for a mixture of experts

    def joint_share(self, tokens: int) -> float:
        """The share of the weights that a step of so many tokens reads: each token picks its experts by chance."""
        return 1.0 if self.touched >= 1.0 else 1.0 - (1.0 - self.touched) ** tokens

    # With the floor of the time that each cause takes: what a joule of a busy GPU was spent on.

    @property
    def step_all_j(self) -> float:
        return self.step_j + self.idle_w * self.step_s

    @property
    def prefill_all_j(self) -> float:
        return self.prefill_j + self.idle_w * self.prefill_s

    @property
    def decode_all_j(self) -> float:
        return self.decode_j + self.idle_w * self.decode_s

    @property
    def context_all_j(self) -> float:
        return self.context_j + self.idle_w * self.context_s


WEIGHTS = Costs("weights-read", 120, 0.0070, 1.9, 45e-6, 0.022, 50e-6, 0.020, 4e-8, 1.2e-5)
COMPUTE = Costs("compute", 80, 0.0040, 0.5, 250e-6, 0.110, 400e-6, 0.120, 2e-8, 0.4e-5)
CONTEXT = Costs("context-heavy", 120, 0.0080, 2.0, 60e-6, 0.030, 60e-6, 0.020, 40e-8, 11e-5)
EXPERTS = Costs("mixture of experts", 110, 0.0140, 3.8, 30e-6, 0.014, 40e-6, 0.012, 4e-8, 1.2e-5, touched=0.0625)
LARGE = Costs("large, weights-read", 480, 0.0260, 32.0, 150e-6, 0.24, 160e-6, 0.20, 8e-8, 9e-5)

MODELS = (WEIGHTS, COMPUTE, CONTEXT, EXPERTS, LARGE)
