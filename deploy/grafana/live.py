"""The first dashboard: what the machines do now, and whether the meter is well."""

from __future__ import annotations

from deploy.grafana.health import HEALTH
from deploy.grafana.queries import (
    GENERATED,
    SERVING,
    increase,
    named,
    owned,
    rate,
    ratio,
    site,
    total,
    whose_tokens_count,
    zero_where,
)
from deploy.grafana.requests import REQUESTS
from deploy.grafana.spec import USE_COLORS, Board, Kind, Panel, Query, Row, Step
from deploy.grafana.variables import AGENTS, WINDOWS

_ENERGY = "joulecar_energy_joules_total"
_SERVING = owned(_ENERGY, SERVING)
_IDLE = owned(_ENERGY, 'use="idle"')
_TOKENS = owned("joulecar_tokens_total", GENERATED)
_REQUESTS = owned("joulecar_requests_total")
_POWER = site("joulecar_device_power_watts")
_DEVICE = "cluster, instance, device"
_NO_TOKENS = "no tokens in the window"

_SERVING_J = whose_tokens_count(_SERVING)
_REQUEST_J = whose_tokens_count(_SERVING, "joulecar_requests_total")


def _tokens_per_joule(by: str = "") -> str:
    return ratio(f"({total(increase(_TOKENS), by)} > 0)", total(_SERVING_J, by))


def _joules_per_request(by: str = "") -> str:
    return ratio(total(_REQUEST_J, by), total(increase(_REQUESTS), by))


def _idle_share(by: str = "") -> str:
    idle = zero_where(total(increase(_IDLE), by), increase(_SERVING), by)
    return ratio(f"({idle})", total(increase(_SERVING), by))


_NOW = Row(
    "Now",
    (
        Panel(
            "Power",
            "All metered devices of the chosen agents: GPUs, processors and memory, as their sensors or models say. A "
            "device that did not say at the last tick is left out. Fans and power supplies are not in it.",
            Kind.STAT,
            "watt",
            (Query(total(_POWER)),),
            width=4,
            height=4,
            nothing="no device says",
        ),
        Panel(
            "Tokens per joule",
            "Generated tokens over all joules of serving (prefill, decode and idle; GPUs, processors and memory) in "
            "the window, of models whose tokens the engine counts. Higher is better. Nothing where no token came.",
            Kind.STAT,
            "suffix:tok/J",
            (Query(_tokens_per_joule()),),
            width=4,
            height=4,
            nothing=_NO_TOKENS,
        ),
        Panel(
            "Joules per request",
            "Joules of serving (prefill, decode and idle; every kind of device) over the requests that ended in the "
            "window: a mean. Models whose engine does not count requests (llama.cpp) are left out.",
            Kind.STAT,
            "joule",
            (Query(_joules_per_request()),),
            width=4,
            height=4,
            nothing="no request ended",
        ),
        Panel(
            "Generated tokens",
            "Tokens that the engines counted as generated, each second. Prompt tokens are not in it.",
            Kind.STAT,
            "suffix:tok/s",
            (Query(total(rate(_TOKENS))),),
            width=4,
            height=4,
            decimals=0,
            nothing="no engine counts",
        ),
        Panel(
            "Idle share",
            "Joules while an engine is loaded and nothing runs, over all joules of serving in the window.",
            Kind.STAT,
            "percentunit",
            (Query(_idle_share()),),
            width=4,
            height=4,
            steps=(Step(0.3, "yellow"), Step(0.6, "orange")),
            nothing="no joules of serving",
        ),
        Panel(
            "Parts down",
            "Sources, engines, grid and ledger of the chosen agents that do not work now. The panel Parts below names "
            "them.",
            Kind.STAT,
            "none",
            (Query(zero_where(f"count({site('joulecar_part_up')} == 0)", site("joulecar_part_up"))),),
            width=4,
            height=4,
            steps=(Step(1, "red"),),
            nothing="no agent",
        ),
    ),
)

_WATTS = Row(
    "Power",
    (
        Panel(
            "Watts by device",
            "Power of each device now, stacked. Estimated devices (no sensor) are in it: see how the watts are known, "
            "below.",
            Kind.LINES,
            "watt",
            (
                Query(
                    f"{total(_POWER, f'{_DEVICE}, kind')}\n* on ({_DEVICE}) group_left (name, index) "
                    f"max by ({_DEVICE}, name, index) ({site('joulecar_device_info')})",
                    "{{instance}} {{kind}} {{index}} {{name}}",
                ),
            ),
            width=12,
            stacked=True,
            low=0,
        ),
        Panel(
            "Watts by use",
            "What the joules of all devices were booked to, as a rate. Joules that wait for their tokens come later, "
            "at the time they are booked. foreign: another process on a shared GPU; unassigned: a GPU without engine; "
            "unattributed: the engine could not be read.",
            Kind.LINES,
            "watt",
            (Query(total(rate(owned(_ENERGY)), "use"), "{{use}}"),),
            width=12,
            stacked=True,
            colors=USE_COLORS,
            low=0,
        ),
    ),
)

_EFFICIENCY = Row(
    "Efficiency",
    (
        Panel(
            "Tokens per joule by model",
            "Generated tokens over the joules of serving (prefill, decode, idle; every kind of device) in the window. "
            "It depends on the batch by a factor of 5 to 20: compare like load with like. No line where no token "
            "came.",
            Kind.LINES,
            "suffix:tok/J",
            (Query(_tokens_per_joule("engine, model"), "{{engine}} {{model}}"),),
            low=0,
        ),
        Panel(
            "Joules per request by model",
            "Joules of serving over the requests that ended in the window: a mean, idle included. No line where none "
            "ended or the engine does not count them.",
            Kind.LINES,
            "joule",
            (Query(_joules_per_request("engine, model"), "{{engine}} {{model}}"),),
            low=0,
        ),
        Panel(
            "Tokens by type",
            "Tokens each second, as the engines count them. prompt_cached came from the prefix cache and cost no "
            "prefill.",
            Kind.LINES,
            "suffix:tok/s",
            (Query(total(rate(owned("joulecar_tokens_total")), "type"), "{{type}}"),),
            stacked=True,
            low=0,
        ),
        Panel(
            "Joules by use",
            "Joules of the window by what they were used for, every kind of device. What waits for its tokens is not "
            "in it.",
            Kind.BARS,
            "joule",
            (Query(total(increase(owned(_ENERGY)), "use"), "{{use}}"),),
            colors=USE_COLORS,
            low=0,
        ),
        Panel(
            "Models",
            "Each engine and model over the window: joules of prefill, decode and idle, generated tokens, requests "
            "that ended. A cell is empty where the engine does not count or nothing came.",
            Kind.TABLE,
            "none",
            (
                Query(total(rate(_SERVING).replace("$__rate_interval", "$window"), "engine, model"), "Power", "watt"),
                Query(
                    total(rate(_TOKENS).replace("$__rate_interval", "$window"), "engine, model"),
                    "Generated",
                    "suffix:tok/s",
                ),
                Query(_tokens_per_joule("engine, model"), "Tokens/J", "suffix:tok/J"),
                Query(_joules_per_request("engine, model"), "J/request", "joule"),
                Query(_idle_share("engine, model"), "Idle", "percentunit"),
            ),
            width=16,
            labels={"engine": "Engine", "model": "Model"},
        ),
    ),
)

_WASTE = Row(
    "Idle waste",
    (
        Panel(
            "Watts that serve nothing",
            "idle: the engine is loaded and nothing runs; unassigned: a GPU that no engine uses; foreign: other "
            "processes on a shared GPU; unattributed: nobody knows. All kinds of device, at the time of booking.",
            Kind.LINES,
            "watt",
            (
                Query(
                    named(
                        total(rate(owned(_ENERGY, 'use=~"idle|unassigned|foreign|unattributed"')), "use, engine, model")
                    ),
                    "{{use}} {{engine}} {{model}}",
                ),
            ),
            width=12,
            stacked=True,
            low=0,
        ),
        Panel(
            "Idle share by model",
            "Idle joules over all joules of serving in the window. Above the dashed lines a smaller machine, or "
            "sharing this one, is worth a thought.",
            Kind.LINES,
            "percentunit",
            (Query(_idle_share("engine, model"), "{{engine}} {{model}}"),),
            width=12,
            low=0,
            high=1,
            steps=(Step(0.3, "yellow"), Step(0.6, "orange")),
        ),
    ),
)

LIVE = Board(
    "joulecar-live",
    "Joulecar / Live operations",
    "Watts, tokens per joule, what idling and single requests cost, and whether the meter itself is well.",
    (_NOW, _WATTS, _EFFICIENCY, _WASTE, REQUESTS, HEALTH),
    AGENTS,
    WINDOWS,
    refresh="10s",
)
