"""THE table of metric families: the collector serves it and METRICS.md is written from it.

One module for each theme, with the functions that make its rows of a snapshot.
"""

from exporters.families.budgets import BUDGETS
from exporters.families.carbon import CARBON
from exporters.families.devices import DEVICES
from exporters.families.headlines import HEADLINES
from exporters.families.health import HEALTH
from exporters.families.ledger import LEDGER
from exporters.families.requests import REQUESTS
from exporters.families.site import SITE

THEMES = (DEVICES, LEDGER, HEADLINES, CARBON, SITE, REQUESTS, BUDGETS, HEALTH)
FAMILIES = tuple(family for theme in THEMES for family in theme.families)
