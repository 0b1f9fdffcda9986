"""A load on a real vLLM of all the ways to ask it, and what it answered, by the client's own count."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fakes.vllm import MODEL

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. leave_after: the client goes away after so many pieces of a streamed answer; -1: it stays."""

    prompt: str
    max_tokens: int
    stream: bool = False
    chat: bool = False
    n: int = 1
    leave_after: int = -1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine told the client. asked: tokens of the prompt. None: the client left."""

    request_id: str
    asked: int
    cached: int | None
    generated: int | None
    n: int = 1

    @property
    def is_whole(self) -> bool:
        return self.generated is not None


def mixed(seed: int, count: int) -> list[Ask]:
    """Short and long prompts and answers, some streamed, some chats, a shared opening, n=2, and clients that leave."""
    rng = random.Random(seed)
    opening = text(rng, 640)
    asks = []
    for k in range(count):
        long = rng.random() < 0.3
        prompt = text(rng, rng.randint(700, 1400) if long else rng.randint(5, 120))
        ask = Ask(
            opening + prompt[:200] if k % 4 == 1 else prompt,
            rng.randint(100, 400) if rng.random() < 0.3 else rng.randint(1, 60),
            stream=rng.random() < 0.5,
            chat=k % 5 == 2,
            n=2 if k % 8 == 3 else 1,
        )
        if k % 10 == 7:
            ask = Ask(prompt, 600, stream=True, leave_after=3)
        asks.append(ask)
    return asks


def text(rng: random.Random, characters: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=characters))


def send(url: str, asks: Sequence[Ask], *, at_once: int, running: Running | None = None) -> list[Answer]:
    """Ask all of it, so many at a time; the answers in the same order."""
    limits = httpx.Limits(max_connections=at_once)
    client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, limits=limits)
    with client, ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda ask: _one(client, ask, running or Running()), asks))


class Running:
    """How many requests are under way, told whenever none begins to be some, or some none."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Running:
        with self._lock:
            self._count += 1
            if self._count == 1:
                self.changed(busy=True)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self.changed(busy=False)

    def changed(self, *, busy: bool) -> None:
        """Nobody listens here."""


def _one(client: httpx.Client, ask: Ask, running: Running) -> Answer:
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": ask.max_tokens,
        "stream": ask.stream,
        "n": ask.n,
        "ignore_eos": True,
        "temperature": 1.0,
    }
    if ask.chat:
        path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": ask.prompt}]
    else:
        path, body["prompt"] = "/v1/completions", ask.prompt
    with running:
        if ask.stream:
            with client.stream("POST", path, json=body) as answer:
                answer.raise_for_status()
                return _streamed(answer.iter_lines(), ask)
        return _counted(client.post(path, json=body).raise_for_status().json(), ask)


def _streamed(lines: Iterator[str], ask: Ask) -> Answer:
    last: dict[str, Any] = {}
    pieces = 0
    for line in lines:
        if not line.startswith("data: {"):
            continue
        last = json.loads(line.removeprefix("data: "))
        pieces += 1
        if pieces == ask.leave_after:
            return Answer(last["id"], len(ask.prompt), None, None, ask.n)
    return _counted(last, ask)


def _counted(data: dict[str, Any], ask: Ask) -> Answer:
    usage = data["usage"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    assert usage["prompt_tokens"] == len(ask.prompt)
    return Answer(data["id"], len(ask.prompt), cached, usage["completion_tokens"], ask.n)
