"""The live dashboard's last row: is the meter itself well?"""

from __future__ import annotations

from deploy.grafana.queries import increase, rate, site, total, zero_where
from deploy.grafana.spec import Kind, Panel, Query, Row, Step

_ENERGY = "joulecar_energy_joules_total"
_POWER = site("joulecar_device_power_watts")
_DEVICE = "cluster, instance, device"
_PART = "cluster, instance, part, name"
_AGENTS = f"and on (cluster, instance, job) {site('joulecar_build_info')}"  # every program has process_ metrics
_KIND = "cluster, instance, kind"
_RESIDUAL = (
    f"abs(1 - ({total(site(_ENERGY), _KIND)}\n+ {total(site('joulecar_energy_pending_joules'), _KIND)})\n"
    f"/ ({total(site('joulecar_device_energy_joules_total'), _KIND)} > 0))"
)

HEALTH = Row(
    "Health of the meter",
    (
        Panel(
            "Parts",
            "Each part of each agent: up or down. A part that is down is named in the log with its reason; `joulecar "
            "check` says the fix.",
            Kind.STATES,
            "none",
            (Query(f"min by ({_PART}) ({site('joulecar_part_up')})", "{{instance}} {{part}} {{name}}"),),
            width=12,
            values={"1": ("up", "green"), "0": ("down", "red")},
        ),
        Panel(
            "Errors of parts",
            "Failed reads in the window. One here and there is harmless: the next good counter reading brings the "
            "energy.",
            Kind.LINES,
            "short",
            (Query(total(increase(site("joulecar_part_errors_total")), _PART), "{{instance}} {{part}} {{name}}"),),
            width=12,
            low=0,
        ),
        Panel(
            "Time without knowledge",
            "Seconds since the agent's books began for which a device's energy is in no series, by reason. 0 is what "
            "it should be: above, the joules are a lower bound.",
            Kind.LINES,
            "s",
            (
                Query(
                    zero_where(
                        total(site("joulecar_device_gap_seconds_total"), "cluster, instance"),
                        site("joulecar_device_info"),
                        "cluster, instance",
                    ),
                    "{{instance}}",
                ),
            ),
            width=6,
            low=0,
            steps=(Step(60, "orange"),),
        ),
        Panel(
            "Energy that waits",
            "Joules whose tokens have not come yet, by kind of device. Bounded by max_pending, a minute. Engines that "
            "book tokens when a request ends make it saw.",
            Kind.LINES,
            "joule",
            (Query(total(site("joulecar_energy_pending_joules"), "kind"), "{{kind}}"),),
            width=6,
            low=0,
        ),
        Panel(
            "Age of engine pages",
            "Time since each engine's page was last read well. After a minute its joules become unattributed.",
            Kind.LINES,
            "s",
            (
                Query(
                    f"max by (cluster, instance, engine) ({site('joulecar_engine_sample_age_seconds')})",
                    "{{instance}} {{engine}}",
                ),
            ),
            width=6,
            low=0,
            steps=(Step(60, "orange"),),
        ),
        Panel(
            "Books against counters",
            "Joules booked and waiting, against joules counted by the devices: the largest relative difference of any "
            "kind of device. Rounding stays below 1e-9; anything above is a fault of the agent.",
            Kind.LINES,
            "sci",
            (Query(_RESIDUAL, "{{instance}} {{kind}}"),),
            width=6,
            low=0,
            steps=(Step(1e-9, "red"),),
        ),
        Panel(
            "Counter over sensor",
            "Energy by each GPU's counter over its own power readings integrated. Sensors are off by up to about 5%; "
            "far from 1 one of the two is wrong. Devices with only one of them are not in it.",
            Kind.LINES,
            "none",
            (
                Query(
                    f"max by ({_DEVICE}) ({site('joulecar_device_energy_to_power_ratio')})", "{{instance}} {{device}}"
                ),
            ),
            width=6,
            decimals=3,
        ),
        Panel(
            "How the watts are known",
            "Power by kind of device and method: counter and integrated are measured, estimated is a model (±50%).",
            Kind.LINES,
            "watt",
            (
                Query(
                    f"sum by (kind, method) ({_POWER}\n* on ({_DEVICE}) group_left (method) "
                    f"max by ({_DEVICE}, method) ({site('joulecar_device_info')}))",
                    "{{kind}} {{method}}",
                ),
            ),
            width=6,
            stacked=True,
            low=0,
        ),
        Panel(
            "Processor time of the agent",
            "Share of one core that each agent uses itself. Its joules are a part of the processor's above.",
            Kind.LINES,
            "percentunit",
            (
                Query(
                    f"{rate(site('process_cpu_seconds_total'))}\n{_AGENTS}",
                    "{{instance}}",
                ),
            ),
            width=6,
            low=0,
        ),
        Panel(
            "Memory of the agent",
            "Resident memory of each agent.",
            Kind.LINES,
            "bytes",
            (
                Query(
                    f"{site('process_resident_memory_bytes')}\n{_AGENTS}",
                    "{{instance}}",
                ),
            ),
            width=6,
            low=0,
        ),
    ),
)
