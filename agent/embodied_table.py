"""What making GPUs and servers emits, as far as somebody has published it: kgCO2e from cradle to gate.

Only products that a published study or the maker's own product carbon footprint is about. A product that is not
here has no figure: not 0, and not that of one that looks like it. Transport to the site and the end of life are in
none of them.

    H100 SXM   164     one eighth of 1,312 kg, the baseboard of eight: NVIDIA, "HGX H100 PCF Summary" (ISO 14067)
    B200       284.25  one eighth of 2,274 kg, the same of NVIDIA, "HGX B200 PCF Summary"
    A100 40GB  127.6   teardown and analysis of the SXM module: "More than Carbon", arXiv:2509.00093 (2025)
    A100       150     an estimate: Luccioni, Viguier, Ligozat, "... Carbon Footprint of BLOOM", JMLR 24:253 (2023)
    server     5,700   of eight GPUs, without them: Boavizta's model of AWS p5.48xlarge, as EcoLogits uses it
    server     2,500   with fewer GPUs, without them: the same of Luccioni et al., from an HPE server's footprint

Others differ: Chien et al. (HotCarbon 2023) have 318 kg for an eighth of an A100 server, the server's parts included.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOOM = "Luccioni et al., Carbon Footprint of BLOOM (2023)"
BIG_SERVER_GPUS = 5  # GPUs from which on a server is built around a baseboard of eight


@dataclass(frozen=True, slots=True)
class Footprint:
    """One product. words: all of them stand in the name that the driver gives; but_not: none of these does."""

    words: frozenset[str]
    kgco2e: float
    source: str
    but_not: frozenset[str] = frozenset()


# The first row that fits holds.
GPUS: tuple[Footprint, ...] = (
    # The H100 of PCI Express and NVL pairs are other boards, which NVIDIA's summary is not about.
    Footprint(frozenset({"H100"}), 1312 / 8, "NVIDIA HGX H100 PCF Summary, 1/8", frozenset({"PCIE", "NVL"})),
    Footprint(frozenset({"B200"}), 2274 / 8, "NVIDIA HGX B200 PCF Summary, 1/8"),
    Footprint(frozenset({"A100", "SXM4", "40GB"}), 127.6, "More than Carbon, arXiv:2509.00093"),
    Footprint(frozenset({"A100"}), 150.0, f"{BLOOM}, an estimate"),
)


def server(gpus: int) -> tuple[float, str] | None:
    """kgCO2e of a server without its GPUs, and the source; None for one that has no GPU: none is published here."""
    if gpus >= BIG_SERVER_GPUS:
        return 5700.0, "Boavizta's p5.48xlarge without GPUs, through EcoLogits"
    return (2500.0, f"{BLOOM}, a server without GPUs") if gpus else None
