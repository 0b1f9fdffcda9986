"""THE table of metric families: the collector serves it and METRICS.md is written from it."""

from __future__ import annotations

from exporters import rows
from exporters.family import Family, Theme

_ENGINE_MODEL = ("engine", "model")

DEVICES = Theme(
    "Devices",
    (
        Family(
            "joulecar_device_info",
            "gauge",
            "always 1",
            ("device", "kind", "name", "index", "method"),
            "Devices that are metered, and how their energy is known.",
            rows.device_info,
            "Join with `* on (device) group_left (name, method)`.",
        ),
        Family(
            "joulecar_device_energy_joules_total",
            "counter",
            "joules",
            ("device", "kind"),
            "Energy that the device used, as its counter tells it, or integrated or estimated where it has none.",
            rows.device_energy,
            "A reset or wrap of the hardware's counter adds nothing here and takes nothing away. "
            "RAPL sub-domains (core, uncore) and psys are never added: they are inside others.",
        ),
        Family(
            "joulecar_device_power_watts",
            "gauge",
            "watts",
            ("device", "kind"),
            "Power of the device now.",
            rows.device_power,
            "Absent at a tick at which the device did not say.",
        ),
        Family(
            "joulecar_device_gap_seconds_total",
            "counter",
            "seconds",
            ("device", "kind", "reason"),
            "Time for which the device's energy is not known and is in no other series.",
            rows.device_gap,
            "Anything above 0 means that the joules are a lower bound by that much time.",
        ),
        Family(
            "joulecar_device_energy_to_power_ratio",
            "gauge",
            "ratio",
            ("device",),
            "Energy by the device's counter divided by its own power readings integrated over the same time.",
            rows.counter_to_power_ratio,
            "The sensors are off by up to about 5%; far from 1 means that one of the two cannot be trusted.",
        ),
    ),
)

LEDGER = Theme(
    "Energy, tokens, requests",
    (
        Family(
            "joulecar_energy_joules_total",
            "counter",
            "joules",
            ("engine", "model", "use", "kind"),
            "Energy by what it was used for. Every joule of the devices is in exactly one series.",
            rows.energy,
            "Prefill and decode are told apart by weights: w = prefill_weight x prompt_computed + generated.",
        ),
        Family(
            "joulecar_energy_pending_joules",
            "gauge",
            "joules",
            ("kind",),
            "Energy that waits for the tokens it was spent on; it moves to joulecar_energy_joules_total.",
            rows.energy_pending,
            "Engines that book tokens at the end of a request, or late scrapes, make energy wait. Bounded by "
            "`attribution.max_pending`.",
        ),
        Family(
            "joulecar_tokens_total",
            "counter",
            "tokens",
            (*_ENGINE_MODEL, "type"),
            "Tokens that the engine counted, summed over its ranks and workers.",
            rows.tokens,
            "Absent where the engine does not tell that type; an engine's restart neither loses nor repeats any.",
        ),
        Family(
            "joulecar_requests_total",
            "counter",
            "requests",
            (*_ENGINE_MODEL, "outcome"),
            "Requests that ended.",
            rows.requests,
        ),
    ),
)

HEADLINES = Theme(
    "Headline ratios",
    (
        Family(
            "joulecar_tokens_per_joule",
            "gauge",
            "tokens per joule",
            (*_ENGINE_MODEL, "window", "tokens", "boundary"),
            "Tokens for each joule, over a window.",
            rows.headline_by_tokens("generated_per_joule", "all_per_joule"),
            "A ratio of differences of the counters above. Absent where no token came in the window.",
        ),
        Family(
            "joulecar_joules_per_request",
            "gauge",
            "joules per request",
            (*_ENGINE_MODEL, "window", "boundary"),
            "Energy for each request that ended, over a window.",
            rows.headline("joules_per_request"),
            "Absent where no request ended in the window.",
        ),
        Family(
            "joulecar_gco2e_per_1k_tokens",
            "gauge",
            "gCO2e per 1,000 tokens",
            (*_ENGINE_MODEL, "window", "tokens", "boundary"),
            "Grams of CO2 equivalent for 1,000 tokens, over a window.",
            rows.headline_by_tokens("gco2e_per_1k_generated", "gco2e_per_1k_all"),
            "Absent where no token came in the window, and where no grid intensity is known.",
        ),
    ),
)

CARBON = Theme(
    "Carbon",
    (
        Family(
            "joulecar_emissions_gco2e_total",
            "counter",
            "gCO2e",
            (*_ENGINE_MODEL, "scope"),
            "Grams of CO2 equivalent: energy times the grid's intensity at that time, times PUE, overhead included.",
            rows.emissions,
            "Nobody's joules are priced too (engine and model empty): the sum over all labels is the whole site's. "
            "Absent where no grid intensity is known.",
        ),
        Family(
            "joulecar_grid_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            ("zone",),
            "Carbon intensity in force now.",
            rows.grid_intensity,
        ),
        Family(
            "joulecar_grid_intensity_info",
            "gauge",
            "always 1",
            ("zone", "provider", "signal", "basis", "kind"),
            "Where the carbon intensity in force comes from and what kind of value it is.",
            rows.grid_info,
        ),
        Family(
            "joulecar_grid_intensity_age_seconds",
            "gauge",
            "seconds",
            ("zone",),
            "Time since the carbon intensity in force was fetched.",
            rows.grid_age,
            "Absent for constants (fixed, yearly): nothing was fetched.",
        ),
        Family(
            "joulecar_pue",
            "gauge",
            "ratio",
            (),
            "Power usage effectiveness that grams and the facility boundary are multiplied with.",
            rows.pue,
            "A setting. It is in no energy counter.",
        ),
        Family(
            "joulecar_node_overhead_watts",
            "gauge",
            "watts",
            (),
            "Power of fans, supplies and whatever no counter sees, as configured.",
            rows.node_overhead,
            "A setting. It is in the facility boundary and in the grams, and in no energy counter.",
        ),
    ),
)

HEALTH = Theme(
    "How the agent does",
    (
        Family(
            "joulecar_attribution_prefill_weight",
            "gauge",
            "ratio",
            ("engine",),
            "Energy of a computed prompt token over that of a generated token, as used to split work into phases.",
            rows.prefill_weight,
        ),
        Family(
            "joulecar_engine_info",
            "gauge",
            "always 1",
            ("engine", "kind", "version"),
            "Engines that are read.",
            rows.engine_info,
        ),
        Family(
            "joulecar_engine_sample_age_seconds",
            "gauge",
            "seconds",
            ("engine",),
            "Time since the engine's page was last read well.",
            rows.engine_sample_age,
            "Absent until the first good read.",
        ),
        Family(
            "joulecar_part_up",
            "gauge",
            "1 or 0",
            ("part", "name"),
            "Whether the part works now: 1 or 0.",
            rows.part_up,
        ),
        Family(
            "joulecar_part_errors_total",
            "counter",
            "errors",
            ("part", "name"),
            "Errors of the part.",
            rows.part_errors,
            "The log says when a part breaks and when it heals; this counts all between.",
        ),
        Family(
            "joulecar_grid_refused_payloads_total",
            "counter",
            "answers",
            ("provider", "field", "reason"),
            "Answers of a grid provider that were refused, by the field at fault and the reason.",
            rows.refused_payloads,
            "Each is one of joulecar_part_errors_total, unless it was of a part of the answer that may lack, such as a "
            "forecast. Reasons are a closed list: missing, null, not_a_number, not_finite, out_of_range, other_zone, "
            "other_quantity (unit, signal, basis), not_utc, repeated_time, other_time, empty, error_body, unreadable, "
            "too_large, unexpected. Absent until the first.",
        ),
        Family(
            "joulecar_part_last_success_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("part", "name"),
            "When the part last worked, in Unix time.",
            rows.part_last_success,
            "Absent if it never did.",
        ),
        Family(
            "joulecar_self_energy_joules_total",
            "counter",
            "joules",
            (),
            "Energy of the agent itself, estimated from its processor time.",
            rows.self_energy,
            "A part of the processor's energy above, not on top of it.",
        ),
        Family(
            "joulecar_build_info",
            "gauge",
            "always 1",
            ("version", "python"),
            "The version that runs.",
            rows.build_info,
        ),
    ),
)

THEMES = (DEVICES, LEDGER, HEADLINES, CARBON, HEALTH)
FAMILIES = tuple(family for theme in THEMES for family in theme.families)
