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
            "joulecar_emissions_settlement_gco2e",
            "gauge",
            "gCO2e",
            _ENGINE_MODEL,
            "What the grid's final figures add to the operational grams that were counted before they came.",
            rows.settlement,
            "A report adds it to `joulecar_emissions_gco2e_total`, which never goes back: below 0 means that less was "
            "emitted than counted. Hours of the last 9 days are settled; the sum is kept for ever.",
        ),
        Family(
            "joulecar_emissions_market_based_gco2e_total",
            "counter",
            "gCO2e",
            _ENGINE_MODEL,
            "The market-based account: the same energy at the factor of the contract or the residual mix.",
            rows.by_model("market_gco2e"),
            "Beside the location-based account, never a part of it. Absent unless `site.market_g_per_kwh` is set.",
        ),
        Family(
            "joulecar_emissions_marginal_gco2e_total",
            "counter",
            "gCO2e",
            _ENGINE_MODEL,
            "The same energy at the marginal intensity: what one kWh more or less causes, which is no footprint.",
            rows.by_model("marginal_gco2e"),
            "Absent unless a source of marginal intensities is named.",
        ),
        Family(
            "joulecar_energy_unpriced_joules_total",
            "counter",
            "joules",
            (),
            "Energy, node overhead included, of times for which no grid intensity was known: it is in no grams.",
            rows.unpriced,
            "Without a zone that is all of it.",
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
            "joulecar_grid_marginal_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            ("zone",),
            "Marginal carbon intensity in force now.",
            rows.marginal_intensity,
        ),
        Family(
            "joulecar_grid_zone_info",
            "gauge",
            "always 1",
            ("zone", "found"),
            "The grid's zone and how it was found.",
            rows.zone_info,
            '`found="unknown"`: no zone, so no grams; set `grid.zone`.',
        ),
        Family(
            "joulecar_market_based_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            (),
            "The factor of the market-based account.",
            rows.market_factor,
            "A setting.",
        ),
        Family(
            "joulecar_grid_loss_ratio",
            "gauge",
            "ratio",
            (),
            "Energy fed into the grid for each that is delivered: grams are multiplied with it.",
            rows.grid_loss,
            "A setting. It is in no energy counter.",
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

SITE = Theme(
    "SCI, water and money",
    (
        Family(
            "joulecar_sci_gco2e_per_1k_tokens",
            "gauge",
            "gCO2e per 1,000 tokens",
            (*_ENGINE_MODEL, "window", "tokens"),
            "Software Carbon Intensity for 1,000 tokens, over a window: operational and embodied grams.",
            rows.sci,
            "(O + M) / R of ISO/IEC 21031, boundary `facility`. Absent unless `site.embodied` is on and an intensity "
            "is known.",
        ),
        Family(
            "joulecar_embodied_unknown_info",
            "gauge",
            "always 1",
            ("name",),
            "Hardware whose embodied carbon is in no grams, since nobody has published it.",
            rows.embodied_unknown,
            "Set `site.embodied.gpu_kgco2e` or `server_kgco2e`.",
        ),
        Family(
            "joulecar_water_liters_total",
            "counter",
            "litres",
            _ENGINE_MODEL,
            "Water that the site used for this energy, node overhead included.",
            rows.by_model("water_l"),
            "Energy times `site.wue_l_per_kwh`; absent unless that is set.",
        ),
        Family(
            "joulecar_energy_cost_total",
            "counter",
            "currency",
            (*_ENGINE_MODEL, "currency"),
            "What the energy cost, node overhead and PUE included, at the price of that very time.",
            rows.money("cost"),
            "Absent unless `site.price` is set.",
        ),
        Family(
            "joulecar_energy_credit_total",
            "counter",
            "currency",
            (*_ENGINE_MODEL, "currency"),
            "What was earned by energy in hours of a negative price.",
            rows.money("credit"),
            "Cost less credit is the bill: two counters, since a counter must not fall.",
        ),
        Family(
            "joulecar_energy_uncosted_joules_total",
            "counter",
            "joules",
            (),
            "Energy, node overhead included, of times whose price nobody told: it is in no cost.",
            rows.uncosted,
        ),
        Family(
            "joulecar_cost_per_1k_tokens",
            "gauge",
            "currency per 1,000 tokens",
            (*_ENGINE_MODEL, "window", "tokens", "currency"),
            "Cost less credit for 1,000 tokens, over a window; boundary `facility`.",
            rows.cost_per_1k,
        ),
        Family(
            "joulecar_energy_price_per_kwh",
            "gauge",
            "currency per kWh",
            ("currency", "zone", "provider", "kind"),
            "Price of a kilowatt-hour in force now.",
            rows.price,
        ),
    ),
)

REQUESTS = Theme(
    "Single requests",
    (
        Family(
            "joulecar_request_energy_joules",
            "histogram",
            "joules",
            _ENGINE_MODEL,
            "Energy of single requests, prefill and decode, whose spans came.",
            notes="Absent unless `otlp.listen` is set. In OpenMetrics every bucket names a trace. Begins anew when the "
            "agent does. Its sum is never more than `joulecar_energy_joules_total` of prefill and decode: requests "
            "without spans keep their share.",
            histograms=rows.request_energy,
        ),
        Family(
            "joulecar_request_emissions_gco2e",
            "histogram",
            "gCO2e",
            _ENGINE_MODEL,
            "Grams of CO2 equivalent of single requests, with overhead, PUE and losses.",
            notes="Absent where no grid intensity is known.",
            histograms=rows.request_emissions,
        ),
        Family(
            "joulecar_request_spans_total",
            "counter",
            "spans",
            ("engine", "outcome"),
            "Spans of requests that came, and what became of them.",
            rows.request_spans,
            "`engine` is empty where a span names none that is known. Other spans of a trace are passed by.",
        ),
        Family(
            "joulecar_request_clock_shift_seconds",
            "gauge",
            "seconds",
            ("engine",),
            "How far the clock of the engine's spans is ahead of the agent's: so much is taken off their times.",
            rows.clock_shift,
        ),
        Family(
            "joulecar_group_energy_joules_total",
            "counter",
            "joules",
            _ENGINE_MODEL,
            "Energy of single requests, summed by the attributes in `otlp.group_by`, each of which is a label.",
            rows.group_energy,
            "`tenant.id` becomes `tenant_id`. Beyond `otlp.max_groups` all labels are `_other`.",
            more_labels=rows.group_labels,
        ),
    ),
)

BUDGETS = Theme(
    "Budgets",
    (
        Family(
            "joulecar_budget_limit",
            "gauge",
            "the budget's unit",
            ("budget", "unit"),
            "What may be used in a period.",
            rows.budget_limit,
        ),
        Family(
            "joulecar_budget_used",
            "gauge",
            "the budget's unit",
            ("budget", "unit"),
            "What was used in this period so far.",
            rows.budget_used,
            "Falls when a new period begins.",
        ),
        Family(
            "joulecar_budget_used_ratio",
            "gauge",
            "ratio",
            ("budget",),
            "Used, over the limit.",
            rows.budget_ratio,
        ),
        Family(
            "joulecar_budget_burn_rate",
            "gauge",
            "ratio",
            ("budget", "window"),
            "How fast it is used: 1 is on course to use exactly the limit in a period.",
            rows.budget_burn,
            "Over the last 1, 6 and 24 hours, or since anything is known. Absent in the first five minutes.",
        ),
        Family(
            "joulecar_budget_exhausted_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("budget",),
            "When the limit was reached, or will be at the rate of the last six hours, in Unix time.",
            rows.budget_exhausted,
            "Absent if that is not within a year.",
        ),
        Family(
            "joulecar_budget_resets_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("budget",),
            "When the next period begins, in Unix time.",
            rows.budget_resets,
            "Absent for a rolling period.",
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
            "Learned from the counters at the engine's recent load, unless `attribution.prefill_weight` is a number. "
            "The price of an engine's step is part of it: it is shared by the sequences in the step.",
        ),
        Family(
            "joulecar_attribution_confidence_ratio",
            "gauge",
            "ratio",
            ("engine",),
            "How far the learned weights are trusted: 1 they alone hold, 0 the prior (0.12) alone does.",
            rows.weight_confidence,
            "From the standard error of the share that prefill has. Absent where the weight is configured.",
        ),
        Family(
            "joulecar_attribution_residual_ratio",
            "gauge",
            "ratio",
            ("engine",),
            "What the learned prices leave unexplained of a window's energy above the idle floor: RMS over mean.",
            rows.weight_residual,
            "Absent until something is learned. It moves no joule: what is booked always adds up.",
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
            "joulecar_engine_sharing_info",
            "gauge",
            "always 1",
            ("engine", "by"),
            "How the engine's part of its GPUs' energy is told from that of others.",
            rows.engine_sharing,
            "`own`: no other engine is configured on them, and whether others use them is not known. `sm`: by the SM "
            "time of processes; what strangers used is `foreign`. `tokens`: by weighted tokens, since processes "
            "cannot be told; `memory_tokens`: each times the memory of its MIG instance. "
            "Two series where it is on GPUs of both kinds.",
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

THEMES = (DEVICES, LEDGER, HEADLINES, CARBON, SITE, REQUESTS, BUDGETS, HEALTH)
FAMILIES = tuple(family for theme in THEMES for family in theme.families)
