"""A vLLM that exists on paper alone: requests in, tokens, GPU power, a metrics page and spans out.

Rates and powers are those of a model of some 30 billion parameters on two H100 under tensor parallelism, rounded:
loaded and idle 90 W a GPU, 380 W with one request, little more with thirty (the published measurements of
ML.ENERGY and Powertrace have this shape: power is nearly a step, so joules per token fall with the batch).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from agent.model import RequestSpan

MODEL = "simulated-32b"
MAX_RUNNING = 48
LOADED_W = 91.0  # the model in memory, nothing to do

_EMPTY_W = 68.0
_LOADING_W = 130.0
_PREFILL_W = 630.0
_DECODE_W = 380.0
_DECODE_W_PER_REQUEST = 4.0
_DECODE_MAX_W = 545.0
_PREFILL_TOKENS_PER_S = 9000.0
_STEP_S = 0.022
_STEP_S_PER_REQUEST = 0.00015
_REASONS = ("stop", "length", "abort", "error", "repetition")


@dataclass(slots=True)
class _Request:
    prompt: int
    cached: int
    to_generate: int
    to_compute: int
    generated: int
    arrived_s: float  # Unix seconds, like all that follow
    admitted_s: float = 0.0
    first_s: float = 0.0  # its first token


@dataclass(frozen=True, slots=True)
class Traffic:
    """What clients send: requests a second, prompt and output lengths, and how much of a prompt is in the cache."""

    per_s: float
    prompt: tuple[int, int] = (200, 1200)
    cached_share: float = 0.3
    output: tuple[int, int] = (60, 320)


@dataclass(slots=True)
class SimulatedEngine:
    """Counters begin where a server that has run for a while would have them; restart() sets them to 0. spans: of the
    requests that ended and whose spans nobody fetched yet."""

    started_wall_s: float
    prompt_computed: int = 812_344
    prompt_cached: int = 301_210
    generated: int = 402_877
    finished: dict[str, int] = field(default_factory=lambda: {"stop": 1904, "length": 233})
    _waiting: list[_Request] = field(default_factory=list)
    _running: list[_Request] = field(default_factory=list)
    _step_credit_s: float = 0.0
    spans: list[RequestSpan] = field(default_factory=list)
    _served: int = 0

    def restart(self, wall_s: float) -> None:
        self.started_wall_s = wall_s
        self.prompt_computed = self.prompt_cached = self.generated = 0
        self.finished = {}
        self.spans.clear()
        self._waiting.clear()
        self._running.clear()
        self._step_credit_s = 0.0

    def advance(self, now_s: float, dt_s: float, traffic: Traffic, rng: random.Random) -> float:
        """Serve for dt_s seconds from now_s (Unix) on. Power of one GPU over that time, in watts."""
        if rng.random() < traffic.per_s * dt_s:
            self._arrive(now_s, traffic, rng)
        prefill_s = self._prefill(now_s, dt_s)
        decode_s = dt_s - prefill_s
        batch = sum(1 for request in self._running if request.to_compute == 0)
        decode_w = min(_DECODE_MAX_W, _DECODE_W + _DECODE_W_PER_REQUEST * batch) if batch else LOADED_W
        self._decode(now_s + dt_s, decode_s)
        return (prefill_s * _PREFILL_W + decode_s * decode_w) / dt_s

    def _arrive(self, now_s: float, traffic: Traffic, rng: random.Random) -> None:
        prompt = _between(traffic.prompt, rng)
        # vLLM caches whole blocks of 16 tokens, and never the last token of a prompt.
        cached = int(prompt * traffic.cached_share * rng.random() * 2) if traffic.cached_share else 0
        cached = min(cached, prompt - 1) // 16 * 16
        output = _between(traffic.output, rng)
        self._waiting.append(_Request(prompt, cached, output, prompt - cached, output, now_s))

    def _prefill(self, now_s: float, dt_s: float) -> float:
        """Compute prompts, first come first served. The seconds that it took."""
        while self._waiting and len(self._running) < MAX_RUNNING:
            request = self._waiting.pop(0)
            request.admitted_s = now_s
            self._running.append(request)
        left = int(dt_s * _PREFILL_TOKENS_PER_S)
        budget = left
        for request in self._running:
            if request.to_compute == 0 or left == 0:
                continue
            now = min(left, request.to_compute)
            request.to_compute -= now
            left -= now
            if request.to_compute == 0:  # vLLM counts a prompt when its first token comes out
                request.first_s = now_s + dt_s
                self.prompt_computed += request.prompt - request.cached
                self.prompt_cached += request.cached
        return dt_s * (budget - left) / budget

    def _decode(self, end_s: float, seconds: float) -> None:
        self._step_credit_s += seconds
        while True:
            batch = [request for request in self._running if request.to_compute == 0]
            step_s = _STEP_S + _STEP_S_PER_REQUEST * len(batch)
            if not batch:
                self._step_credit_s = 0.0
                return
            if self._step_credit_s < step_s:
                return
            self._step_credit_s -= step_s
            self.generated += len(batch)
            for request in batch:
                request.to_generate -= 1
                if request.to_generate == 0:
                    self._running.remove(request)
                    reason = "length" if request.prompt % 8 == 0 else "stop"
                    self.finished[reason] = self.finished.get(reason, 0) + 1
                    self.spans.append(self._span(request, end_s))

    def _span(self, request: _Request, end_s: float) -> RequestSpan:
        """As vLLM's spans are read, for a caller who is one of three."""
        self._served += 1
        n = self._served
        return RequestSpan(
            engine="",
            start_s=round(request.arrived_s, 3),
            end_s=round(end_s, 3),
            model=MODEL,
            request_id=f"simulated-{n}-0",
            trace_id=f"{n:032x}",
            span_id=f"{n:016x}",
            queue_s=round(request.admitted_s - request.arrived_s, 3),
            prefill_s=round(request.first_s - request.admitted_s, 3),
            decode_s=round(end_s - request.first_s, 3),
            prompt_tokens=float(request.prompt),
            cached_tokens=float(request.cached),
            generated_tokens=float(request.generated),
            group=(("tenant.id", f"simulated-{'abc'[n % 3]}"),),
        )

    def page(self) -> str:
        """The page as vLLM 0.32 writes it, cut to the families that say something here."""
        label = f'engine="0",model_name="{MODEL}"'
        prompt = self.prompt_computed + self.prompt_cached
        running, waiting = len(self._running), len(self._waiting)
        lines = [
            *_family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds."),
            f"process_start_time_seconds {self.started_wall_s}",
            *_family("vllm:num_requests_running", "gauge", "Number of requests in model execution batches."),
            f"vllm:num_requests_running{{{label}}} {running}.0",
            *_family("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed."),
            f"vllm:num_requests_waiting{{{label}}} {waiting}.0",
            *_family("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage."),
            f"vllm:kv_cache_usage_perc{{{label}}} {round(running / MAX_RUNNING * 0.9, 4)}",
            *_family("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed."),
            f"vllm:prompt_tokens_total{{{label}}} {prompt}.0",
            *_family("vllm:prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source."),
            f'vllm:prompt_tokens_by_source_total{{{label},source="local_compute"}} {self.prompt_computed}.0',
            f'vllm:prompt_tokens_by_source_total{{{label},source="local_cache_hit"}} {self.prompt_cached}.0',
            f'vllm:prompt_tokens_by_source_total{{{label},source="external_kv_transfer"}} 0.0',
            *_family("vllm:prompt_tokens_cached_total", "counter", "Number of cached prompt tokens."),
            f"vllm:prompt_tokens_cached_total{{{label}}} {self.prompt_cached}.0",
            *_family("vllm:generation_tokens_total", "counter", "Number of generation tokens processed."),
            f"vllm:generation_tokens_total{{{label}}} {self.generated}.0",
            *_family("vllm:request_success_total", "counter", "Count of successfully processed requests."),
            *(
                f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="{MODEL}"}} '
                f"{self.finished.get(reason, 0)}.0"
                for reason in _REASONS
            ),
        ]
        return "\n".join(lines) + "\n"


def stopped_power_w(*, loading: bool) -> float:
    """Power of one GPU while no engine serves: its memory empty, or weights on their way there."""
    return _LOADING_W if loading else _EMPTY_W


def _between(bounds: tuple[int, int], rng: random.Random) -> int:
    """An integer within bounds. random() alone gives the same numbers in every version of Python."""
    low, high = bounds
    return low + int(rng.random() * (high - low + 1))


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
