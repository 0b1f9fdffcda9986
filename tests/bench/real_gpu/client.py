"""A client that streams answers from llama-server and sends each request's span to the agent, as a vLLM would."""

from __future__ import annotations

import json
import random
import secrets
import threading
from typing import Any

import httpx

from agent.ports import Clock
from tests.agent.otlp.bodies import as_json, span
from tests.bench.real_gpu.asked import Asked

TIMEOUT_S = 300.0
PIECES = (300, 690)  # of a vocabulary: words in that of the random model, and in any other


class Client:
    """For several threads at once. Failures are collected: a load goes on without the request."""

    def __init__(self, server_url: str, engine: str, clock: Clock, seed: int = 7) -> None:
        self.errors: list[str] = []
        self._engine = engine
        self._clock = clock
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        # A new connection each: the server may close one that was at rest just when the next request is sent. verify:
        # nothing here is encrypted, and certificates take long to load.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.Client(trust_env=False, verify=False, timeout=TIMEOUT_S, limits=limits)
        self._server_url = server_url

    def ask(self, load: str, prompt: int, generated: int, spans_url: str = "") -> Asked | None:
        """A prompt of so many random tokens, and an answer of so many. spans_url: "": no span is sent."""
        try:
            asked = self._streamed(load, prompt, generated)
            if spans_url:
                body = as_json(as_span(asked, self._engine))
                sent = self._http.post(spans_url, content=body, headers={"content-type": "application/json"})
                sent.raise_for_status()
        except (httpx.HTTPError, ValueError, KeyError) as error:
            with self._lock:
                self.errors.append(f"{load}: {error!r}")
            return None
        return asked

    def _streamed(self, load: str, prompt: int, generated: int) -> Asked:
        with self._lock:
            ids = [self._rng.randrange(*PIECES) for _ in range(prompt)]
        body = {"prompt": ids, "n_predict": generated, "ignore_eos": True, "cache_prompt": False, "stream": True}
        start_s, first_s, last = self._clock.now().wall_s, None, ""
        with self._http.stream("POST", f"{self._server_url}/completion", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    first_s, last = first_s or self._clock.now().wall_s, line
        end_s = self._clock.now().wall_s
        if first_s is None:
            raise ValueError("an answer without a token")
        told = json.loads(last.removeprefix("data: "))["timings"]
        return Asked(
            trace_id=secrets.token_hex(16),
            load=load,
            start_s=start_s,
            first_s=first_s,
            end_s=end_s,
            prompt=int(told["prompt_n"]),
            generated=int(told["predicted_n"]),
            prefill_s=min(float(told["prompt_ms"]) / 1e3, first_s - start_s),
        )


def as_span(asked: Asked, engine: str) -> dict[str, Any]:
    """The request in vLLM's attributes."""
    to_first_s = asked.first_s - asked.start_s
    attributes = {
        "gen_ai.usage.prompt_tokens": asked.prompt,
        "gen_ai.usage.completion_tokens": asked.generated,
        "gen_ai.latency.time_in_model_prefill": asked.prefill_s,
        "gen_ai.latency.time_in_queue": to_first_s - asked.prefill_s,
        "gen_ai.latency.time_to_first_token": to_first_s,
        "gen_ai.latency.time_in_model_decode": asked.end_s - asked.first_s,
        "gen_ai.request.id": asked.trace_id[:8],
    }
    return span(
        attributes,
        service=engine,
        start=round(asked.start_s * 1e9),
        end=round(asked.end_s * 1e9),
        trace=asked.trace_id,
        span_id=asked.trace_id[:16],
    )
