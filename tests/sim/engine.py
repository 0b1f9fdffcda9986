"""A continuously batching engine on paper: every joule of it has a known cause, phase and request.

A step takes all decoding sequences, one token each, and what is left of the token budget for prompts, first come first
served, in chunks (as vLLM's V1 scheduler does). Whose a joule is:

- what a token costs by itself (prefill, decode, context; the floor of the time it takes included) is its request's;
- the joint cost of a step (weights, launch, the floor of that time) is shared evenly by the sequences in the step:
  each of them needs the weights once. A chunk of a prompt is one sequence.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.model import EngineSample, Instant, Quantity, SeriesKey
from tests.sim.arrivals import Arrival
from tests.sim.costs import Costs


class Booking(StrEnum):
    """When an engine counts a generated token. A prompt is counted at its first token, as all engines do."""

    STEP = "step"  # vLLM, LMDeploy
    END = "end"  # llama.cpp, TGI: all of them when the request ends


@dataclass(frozen=True, slots=True)
class Features:
    """What the engine's page has beside tokens and running requests."""

    steps: bool = True
    first_tokens: bool = True
    requests: bool = True
    inference_s: bool = True


ALL_FEATURES = Features()
FEW_FEATURES = Features(steps=False, first_tokens=False, requests=False)  # llama.cpp


@dataclass(frozen=True, slots=True)
class Served:
    """A finished request: when it did what (seconds), and what it truly cost."""

    arrival_s: float
    admitted_s: float  # the end of its time in the queue, the beginning of its prefill
    first_token_s: float  # the end of its prefill
    end_s: float
    prompt: int
    cached: int
    generated: int
    prefill_j: float
    decode_j: float


@dataclass(slots=True)
class _Running:
    arrival: Arrival
    admitted_s: float
    to_compute: int
    prefill_j: float = 0.0
    first_token_s: float = 0.0
    joined_decode: int = 0  # the decoding step before its first one
    seq_j_before: float = 0.0
    context_j_before: float = 0.0
    context_steps_j_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step while it runs: it uses the GPU alone."""

    start_s: float
    seconds: float
    energy_j: float  # floor included
    chunks: tuple[tuple[_Running, int], ...]
    decoding: int
    joint_j: float
    context_j: float
    slower: float = 1.0  # than its costs say


@dataclass(slots=True)
class Truth:
    """Joules by cause so far, of all finished steps."""

    prefill_j: float = 0.0
    decode_j: float = 0.0

    @property
    def work_j(self) -> float:
        return self.prefill_j + self.decode_j


class Engine:
    """Serves arrivals in order. ready_at, begin and end are called by the machine that runs the steps."""

    def __init__(
        self,
        name: str,
        costs: Costs,
        arrivals: Sequence[Arrival],
        *,
        model: str = "m",
        max_running: int = 64,
        budget: int = 2048,
        booking: Booking = Booking.STEP,
        features: Features = ALL_FEATURES,
        jitter: float = 0.0,
    ) -> None:
        """jitter: a step takes up to so much longer or shorter, relative, for the same joules above the floor."""
        self.name = name
        self.model = model
        self.costs = costs
        self.truth = Truth()
        self.served: list[Served] = []
        self._arrivals = deque(arrivals)
        self._max_running = max_running
        self._budget = budget
        self._booking = booking
        self._features = features
        self._jitter = jitter
        self._rng = random.Random(11)
        self._prefilling: deque[_Running] = deque()
        self._decoding: list[tuple[int, int, _Running]] = []  # a heap by the step that ends each
        self._admitted = 0
        self._context = 0  # tokens, of all decoding sequences
        self._decode_steps = 0
        self._seq_j = 0.0  # what one sequence that decoded from the beginning on would have cost, its context aside
        self._context_j = 0.0  # likewise, of one token of context
        self._context_steps_j = 0.0  # the same, each step's times the number of the step: contexts grow by one a step
        self._counts: dict[Quantity, float] = dict.fromkeys(Quantity, 0.0)

    @property
    def running(self) -> int:
        return len(self._prefilling) + len(self._decoding)

    def waiting(self, now_s: float) -> int:
        return sum(1 for a in self._arrivals if a.at_s <= now_s)

    def ready_at(self) -> float:
        """From when on there is something to do; infinity: all is done."""
        if self.running:
            return -math.inf
        return self._arrivals[0].at_s if self._arrivals else math.inf

    def begin(self, now_s: float) -> Step:
        while self._arrivals and self._arrivals[0].at_s <= now_s and self.running < self._max_running:
            a = self._arrivals.popleft()
            self._prefilling.append(_Running(a, now_s, a.prompt - a.cached))
        c = self.costs
        decoding = len(self._decoding)
        left = self._budget - decoding
        chunks = []
        for request in self._prefilling:
            if left <= 0:
                break
            chunk = min(left, request.to_compute)
            chunks.append((request, chunk))
            left -= chunk
        prompt = sum(n for _, n in chunks)
        joint = c.joint_share(prompt + decoding)
        context = self._context
        slower = 1.0 + self._jitter * self._rng.uniform(-1, 1) if self._jitter else 1.0
        seconds = c.step_s * joint + c.prefill_s * prompt + c.decode_s * decoding + c.context_s * context
        above_j = c.step_j * joint + c.prefill_j * prompt + c.decode_j * decoding + c.context_j * context
        seconds *= slower
        energy_j = above_j + c.idle_w * seconds
        joint_j = (c.step_j + c.idle_w * c.step_s * slower) * joint
        context_j = (c.context_j + c.idle_w * c.context_s * slower) * context
        return Step(now_s, seconds, energy_j, tuple(chunks), decoding, joint_j, context_j, slower)

    def end(self, step: Step) -> None:
        """Tokens are out: count them, and book the joules to those who caused them."""
        now_s = step.start_s + step.seconds
        c = self.costs
        seq_joint_j = step.joint_j / (len(step.chunks) + step.decoding)
        more_w = c.idle_w * (step.slower - 1.0)
        seq_decode_j = seq_joint_j + c.decode_all_j + more_w * c.decode_s
        self.truth.decode_j += step.decoding * seq_decode_j + step.context_j
        emitted = step.decoding
        if step.decoding:
            self._decode_steps += 1
            self._seq_j += seq_decode_j
            context_j = c.context_all_j + more_w * c.context_s
            self._context_j += context_j
            self._context_steps_j += context_j * self._decode_steps
            self._context += step.decoding
            if self._booking is Booking.STEP:
                self._counts[Quantity.GENERATED] += step.decoding
        while self._decoding and self._decoding[0][0] <= self._decode_steps:
            self._finish(heapq.heappop(self._decoding)[2], now_s)
        for request, chunk in step.chunks:
            cost_j = seq_joint_j + (c.prefill_all_j + more_w * c.prefill_s) * chunk
            self.truth.prefill_j += cost_j
            request.prefill_j += cost_j
            request.to_compute -= chunk
            if request.to_compute == 0:
                self._prefilling.remove(request)
                self._first_token(request, now_s)
                emitted += 1
        if emitted:  # vLLM leaves out steps that give no token
            self._counts[Quantity.STEPS] += 1

    def _first_token(self, request: _Running, now_s: float) -> None:
        a = request.arrival
        request.first_token_s = now_s
        self._counts[Quantity.PROMPT] += a.prompt
        self._counts[Quantity.PROMPT_CACHED] += a.cached
        self._counts[Quantity.PROMPT_COMPUTED] += a.prompt - a.cached
        self._counts[Quantity.FIRST_TOKENS] += 1
        if self._booking is Booking.STEP:
            self._counts[Quantity.GENERATED] += 1
        request.joined_decode = self._decode_steps
        request.seq_j_before = self._seq_j
        request.context_j_before = self._context_j
        request.context_steps_j_before = self._context_steps_j
        if a.generate == 1:
            self._finish(request, now_s)
            return
        self._admitted += 1
        self._context += a.prompt + 1
        heapq.heappush(self._decoding, (self._decode_steps + a.generate - 1, self._admitted, request))

    def _finish(self, request: _Running, now_s: float) -> None:
        a, decoded = request.arrival, request.arrival.generate - 1
        if decoded:
            self._context -= a.prompt + 1 + decoded
        # At the decoding step n it reads prompt + n - joined tokens.
        context_j = (a.prompt - request.joined_decode) * (self._context_j - request.context_j_before)
        context_j += self._context_steps_j - request.context_steps_j_before
        decode_j = self._seq_j - request.seq_j_before + context_j
        if self._booking is Booking.END:
            self._counts[Quantity.GENERATED] += a.generate
        self._counts[Quantity.REQUESTS] += 1
        self._counts[Quantity.INFERENCE_S] += now_s - request.admitted_s
        self.served.append(
            Served(
                a.at_s,
                request.admitted_s,
                request.first_token_s,
                now_s,
                a.prompt,
                a.cached,
                a.generate,
                request.prefill_j,
                decode_j if decoded else 0.0,
            )
        )

    def sample(self, at: Instant, now_s: float) -> EngineSample:
        """The page as it stands."""
        there = {Quantity.PROMPT, Quantity.PROMPT_CACHED, Quantity.PROMPT_COMPUTED, Quantity.GENERATED}
        there |= {Quantity.STEPS} if self._features.steps else set()
        there |= {Quantity.FIRST_TOKENS} if self._features.first_tokens else set()
        there |= {Quantity.REQUESTS} if self._features.requests else set()
        there |= {Quantity.INFERENCE_S} if self._features.inference_s else set()
        counters = {
            SeriesKey(q, self.model, outcome="stop" if q is Quantity.REQUESTS else ""): self._counts[q]
            for q in sorted(there)
        }
        running, waiting = {self.model: float(self.running)}, {self.model: float(self.waiting(now_s))}
        return EngineSample(self.name, at, "vllm", counters, running, waiting)
