"""A modest load on a server, and the client's own count of what it was told."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

import httpx

from agent.demo.tiny_model import NAME
from agent.ports import Clock

_TIMEOUT_S = 60.0
_WORDS = ("ba", "kira", "tone", "luma", "sedi", "fanor", "gibe", "purin", "moresa", "dutanil")


@dataclass(frozen=True, slots=True)
class LoadTotals:
    """What completed requests were answered with, by the server's own words in each response."""

    requests: int = 0
    prompt_computed: int = 0
    prompt_cached: int = 0
    generated: int = 0
    errors: int = 0

    @property
    def prompt(self) -> int:
        return self.prompt_computed + self.prompt_cached


@dataclass(frozen=True, slots=True)
class LoadShape:
    """How the load looks over time. The default keeps a small CPU server half busy, with pauses to see idle in."""

    workers: int = 3
    prompt_words: tuple[int, int] = (8, 120)
    generated_tokens: tuple[int, int] = (16, 160)
    pause_s: tuple[float, float] = (0.05, 0.4)  # between a worker's requests
    busy_s: float = 14.0  # then nobody sends anything for quiet_s
    quiet_s: float = 6.0
    shared_prompts: int = 4  # openings that requests share, so that the prompt cache has something to do


class Load:
    """A closed loop: each worker sends a request, reads the answer, pauses, and goes on until stop()."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        model: str = NAME,
        shape: LoadShape | None = None,
        seed: int = 0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` is the server's base address. Only the clock is waited on; it may be a faked one."""
        self._url = url
        self._clock = clock
        self._model = model
        self._shape = shape or LoadShape()
        self._seed = seed
        self._transport = transport
        self._start_s = 0.0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._totals = LoadTotals()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._start_s = self._clock.now().mono_s
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"demo-load-{worker}", daemon=True)
            for worker in range(self._shape.workers)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the requests under way end, so that both sides count them, and return when they have."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        """Wait until the load has ended, as it does by itself when its clock is stopped."""
        for thread in self._threads:
            thread.join()

    def totals(self) -> LoadTotals:
        with self._lock:
            return self._totals

    def _work(self, worker: int) -> None:
        rng = random.Random(f"{self._seed}/{worker}")  # noqa: S311 - a load, not a secret
        # trust_env: a proxy of the environment has no business on loopback.
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S, trust_env=False, transport=self._transport) as client:
            while not self._stopping.is_set() and self._pause_between_bursts():
                self._count(self._ask(client, rng))
                if not self._wait(rng.uniform(*self._shape.pause_s)):
                    return

    def _ask(self, client: httpx.Client, rng: random.Random) -> LoadTotals:
        """One request. What it was answered with, as totals of this request alone."""
        body = {
            "model": self._model,
            "prompt": _prompt(rng, self._shape),
            "max_tokens": rng.randint(*self._shape.generated_tokens),
            "ignore_eos": True,
            "temperature": 1.0,
            "seed": rng.randrange(2**31),
        }
        try:
            response = client.post("/v1/completions", json=body)
            response.raise_for_status()
            return _counted(response.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            return LoadTotals(errors=1)

    def _count(self, one: LoadTotals) -> None:
        with self._lock:
            self._totals = LoadTotals(
                requests=self._totals.requests + one.requests,
                prompt_computed=self._totals.prompt_computed + one.prompt_computed,
                prompt_cached=self._totals.prompt_cached + one.prompt_cached,
                generated=self._totals.generated + one.generated,
                errors=self._totals.errors + one.errors,
            )

    def _pause_between_bursts(self) -> bool:
        """Wait out the quiet part that all workers share. False: stop."""
        shape = self._shape
        if shape.quiet_s <= 0:
            return True
        since_s = (self._clock.now().mono_s - self._start_s) % (shape.busy_s + shape.quiet_s)
        return since_s < shape.busy_s or self._wait(shape.busy_s + shape.quiet_s - since_s)

    def _wait(self, seconds: float) -> bool:
        """Wait on the clock in short pieces, so that stop() is heard. False: stop."""
        until_s = self._clock.now().mono_s + seconds
        while not self._stopping.is_set():
            now_s = self._clock.now().mono_s
            if now_s >= until_s:
                return True
            if not self._clock.wait_until(min(until_s, now_s + 0.2)):
                return False
        return False


def _prompt(rng: random.Random, shape: LoadShape) -> str:
    """Made-up words: a shared opening, then words of its own."""
    length = rng.randint(*shape.prompt_words)
    opening = random.Random(f"opening/{rng.randrange(shape.shared_prompts)}")  # noqa: S311
    shared = [opening.choice(_WORDS) for _ in range(length // 2)]
    return " ".join([*shared, *(rng.choice(_WORDS) for _ in range(length - len(shared)))])


def _counted(answer: dict[str, dict[str, int]]) -> LoadTotals:
    """A completion's own numbers: llama.cpp's `timings` where given (they tell cached prompt tokens apart), else
    OpenAI's `usage`. Raises KeyError, TypeError or AttributeError if
    it has neither."""
    usage = answer["usage"]
    details = usage.get("prompt_tokens_details")
    cached = (details.get("cached_tokens") or 0) if isinstance(details, dict) else 0
    computed = usage["prompt_tokens"] - cached
    if timings := answer.get("timings"):
        cached, computed = timings.get("cache_n", cached), timings.get("prompt_n", computed)
    return LoadTotals(requests=1, prompt_computed=computed, prompt_cached=cached, generated=usage["completion_tokens"])
