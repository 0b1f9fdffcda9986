"""How long each part of the benchmark takes, and how the agent beside it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.real_gpu.loads import Tokens, lognormal, uniform

PROMPT = 1500  # tokens; with every answer below it, less than the 2,048 that a slot has room for
ANSWER = 256
SINGLE = (("single_prompt", PROMPT, 32), ("single_answer", 64, 300))  # name, prompt, answer
MIXED_PROMPT, MIXED_ANSWER = lognormal(403, 0.8, 16, PROMPT), lognormal(99.5, 0.7, 4, 400)
CHAT: tuple[float, Tokens, Tokens] = (1.0, uniform(30, 200), uniform(60, 200))  # requests a second, prompt, answer
DOCUMENTS: tuple[float, Tokens, Tokens] = (2.5, uniform(900, 1900), uniform(1, 10))


@dataclass(frozen=True, slots=True)
class Plan:
    """settle_s: of rest behind each load, in which the agent's windows close."""

    rest_s: float
    settle_s: float
    speed_s: float  # one answer after the other, with and without the agent
    load_s: float
    single: int  # requests
    mixes: tuple[tuple[str, float, float], ...]  # name, requests a second, seconds
    shared_s: float
    shared_times: int  # that both engines are asked at once
    told_s: float  # until the last request has to be told
    agent: str = ""  # TOML that goes before the engines
    engine: str = ""  # TOML that every engine has

    def config(self, urls: Mapping[str, str]) -> str:
        """Of an agent beside the engines with these names, that meters GPUs alone: the truth is theirs."""
        tables = [f'[[engine]]\nname = "{name}"\nurl = "{url}"\n{self.engine}' for name, url in urls.items()]
        grid = "[grid]\nfixed_g_per_kwh = 400\n"  # nobody is asked
        sources = '[sources]\nrapl = "off"\nhost = "off"\n'
        return "\n".join([self.agent, sources, '[otlp]\nlisten = "127.0.0.1:0"\n', grid, *tables])


FULL = Plan(
    rest_s=7.0,
    settle_s=12.0,
    speed_s=8.0,
    load_s=14.0,
    single=12,
    mixes=(("mixed_2", 2.0, 70.0), ("mixed_6", 6.0, 40.0)),
    shared_s=28.0,
    shared_times=3,
    told_s=120.0,
)
# To see that everything runs, in half a minute: the figures are of no worth.
SHORT = Plan(
    rest_s=0.5,
    settle_s=0.8,
    speed_s=0.3,
    load_s=0.5,
    single=2,
    mixes=(("mixed_6", 6.0, 1.2),),
    shared_s=1.0,
    shared_times=1,
    told_s=30.0,
    agent='[agent]\ninterval = "250ms"\nwindow = "1s"\n'
    "[attribution]\nprefill_weight = 0.12\n",  # else requests wait two minutes for prices that are learned
    engine='every = "500ms"\n',
)
