"""Alerts on the agent itself: does it run, does it see, do its books balance."""

from __future__ import annotations

from agent.rules.rule import Alert, Group, Severity

JOB = 'job=~".*joulecar.*"'
FALLBACKS = "last_value|last_value_shaped|same_hour_yesterday|hour_profile"  # rungs of agent/grids/history.py
NOT_INTENSITY = "zone|.*_price"  # parts of the grid that tell no intensity
SERVING = 'use=~"prefill|decode|idle"'

HEALTH = Group(
    "joulecar-health",
    (
        Alert(
            "JoulecarDown",
            f"up{{{JOB}}} == 0",
            Severity.CRITICAL,
            "Joulecar on {{ $labels.instance }} does not answer.",
            "Prometheus cannot scrape {{ $labels.instance }}. What its devices use meanwhile is in no series; the "
            "hardware's counters run on, and with a state_dir it is booked after the restart.",
            "systemctl status joulecar, or the pod's log. `joulecar check` says what is wrong with the configuration. "
            "If it runs: is server.listen an address that Prometheus reaches, is its password right?",
            "5m",
        ),
        Alert(
            "JoulecarAbsent",
            f"absent(up{{{JOB}}})",
            Severity.CRITICAL,
            "Prometheus knows no Joulecar at all.",
            'No target has a job label that contains "joulecar".',
            "Look at Prometheus's targets: has the scrape job been renamed, does service discovery find nothing?",
            "10m",
        ),
        Alert(
            "JoulecarGap",
            """
            sum without (reason) (
                # A series that was born within the 15 minutes has no increase: all that it holds is new.
                (joulecar_device_gap_seconds_total unless joulecar_device_gap_seconds_total offset 15m)
                and on (instance, job) (joulecar_build_info offset 15m)
              or
                increase(joulecar_device_gap_seconds_total[15m])
            ) > 0
            """,
            Severity.WARNING,
            "Joulecar cannot tell the energy of {{ $labels.device }} on {{ $labels.instance }}.",
            "For {{ $value | humanizeDuration }} of the last 15 minutes the energy of {{ $labels.kind }} "
            "{{ $labels.device }} is not known. The joules of that time are in no series: totals are a lower bound.",
            "The label `reason` of joulecar_device_gap_seconds_total says why. A driver that is reset or updated, a "
            "GPU that fell off the bus (dmesg, Xid), or a counter that may no longer be read (`joulecar check`).",
        ),
        Alert(
            "JoulecarEngineUnreadable",
            'joulecar_part_up{part="engine"} == 0',
            Severity.WARNING,
            "Joulecar cannot read engine {{ $labels.name }} on {{ $labels.instance }}.",
            "The metrics page of engine {{ $labels.name }} gives no numbers. Its joules are booked as unattributed "
            "until it does, and its tokens are not counted.",
            "`joulecar check` tries the page and says why. Does the engine run, did its address or token change, are "
            "its metrics switched on?",
            "5m",
        ),
        Alert(
            "JoulecarPartDown",
            'joulecar_part_up{part!~"engine|grid"} == 0',
            Severity.WARNING,
            "{{ $labels.part }} {{ $labels.name }} of Joulecar on {{ $labels.instance }} is down.",
            "{{ $labels.part }} {{ $labels.name }} has not worked for 10 minutes; everything else goes on.",
            "The agent's log says when it broke, why, and the fix; `joulecar check` says it again. Of a ledger: is the "
            "disk full, may the directory be written?",
            "10m",
        ),
        Alert(
            "JoulecarGridStale",
            "joulecar_grid_intensity_age_seconds > 3 * 3600",
            Severity.WARNING,
            "The carbon intensity of {{ $labels.zone }} on {{ $labels.instance }} is old.",
            "The intensity in force was fetched {{ $value | humanizeDuration }} ago. After 3 hours the last value is "
            "off by some 4 to 15% in most grids.",
            "Does the provider answer (joulecar_part_errors_total{part='grid'}, the log), has the token run out? Grams "
            "that are booked meanwhile are settled when the final values come, if they come within a week.",
            "15m",
        ),
        Alert(
            "JoulecarGridFallback",
            f"""
              joulecar_grid_intensity_info{{kind=~"{FALLBACKS}"}}
            or
              joulecar_grid_intensity_info{{kind="yearly"}}
              and on (instance, job) joulecar_part_up{{part="grid",name!~"{NOT_INTENSITY}"}} == 0
            """,
            Severity.INFO,
            "Grams on {{ $labels.instance }} are reckoned with a stand-in.",
            "The source of {{ $labels.zone }}'s carbon intensity is silent; in its place stands {{ $labels.kind }}.",
            "See JoulecarGridStale. Grams are never 0 meanwhile, but less exact: the kind says how they are known.",
            "1h",
        ),
        Alert(
            "JoulecarUnpriced",
            """
              increase(joulecar_energy_unpriced_joules_total[1h])
            > 0.05 * sum without (device, kind) (increase(joulecar_device_energy_joules_total[1h]))
            # Without a zone there are no grams at all, and that is as configured.
              and on (instance, job) joulecar_emissions_gco2e_total{scope="operational"}
            """,
            Severity.WARNING,
            "Joules on {{ $labels.instance }} are in no gram.",
            "For {{ $value | humanize }} J of the last hour no carbon intensity was known: totals of grams, and carbon "
            "budgets, are too low by them.",
            'No source answers and none stands in: add "table" to grid.providers, or set grid.fixed_g_per_kwh.',
            "15m",
        ),
        Alert(
            "JoulecarUncosted",
            """
              increase(joulecar_energy_uncosted_joules_total[1h])
            > 0.05 * sum without (device, kind) (increase(joulecar_device_energy_joules_total[1h]))
            """,
            Severity.WARNING,
            "Joules on {{ $labels.instance }} are in no cost.",
            "For {{ $value | humanize }} J of the last hour nobody told the price: the cost, and budgets of money, are "
            "too low by them.",
            "The price source is silent: the log and joulecar_part_errors_total{part='grid'} say why. A fixed price "
            "needs no source.",
            "15m",
        ),
        Alert(
            "JoulecarResidual",
            """
            abs(
                sum without (engine, model, use) (joulecar_energy_joules_total)
              + (joulecar_energy_pending_joules or 0 * sum without (engine, model, use) (joulecar_energy_joules_total))
              - sum without (device) (joulecar_device_energy_joules_total)
            ) > 1e-6 * sum without (device) (joulecar_device_energy_joules_total)
            """,
            Severity.CRITICAL,
            "Joulecar's books on {{ $labels.instance }} do not balance.",
            "{{ $value | humanize }} J of {{ $labels.kind }} are booked twice or nowhere. That must never be.",
            "This is a fault of Joulecar. Please report it with a trace: joulecar run --record FILE.",
            "5m",
        ),
        Alert(
            "JoulecarUnattributed",
            f"""
              sum without (engine, model, use, kind) (rate(joulecar_energy_joules_total{{use="unattributed"}}[1h]))
            / sum without (engine, model, use, kind) (
                rate(joulecar_energy_joules_total{{{SERVING.replace("idle", "idle|unattributed")}}}[1h])
              )
            > 0.05
            """,
            Severity.WARNING,
            "Joulecar on {{ $labels.instance }} does not know whose joules these are.",
            "{{ $value | humanizePercentage }} of the last hour's joules could be given to no engine.",
            "An engine's page could not be read for a minute or longer, or its tokens never came: joulecar_part_up, "
            "joulecar_engine_sample_age_seconds, `joulecar check`.",
            "15m",
        ),
    ),
    "Is there an agent, does it see everything, do its books balance.",
)
