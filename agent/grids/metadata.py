"""Asks the cloud that this machine runs in for its region: AWS (IMDSv2), Google Cloud, Azure.

All three answer at one link-local address, which the network may also swallow, so all of them together get one second.
No proxy, no redirect, no name to resolve, one small field each and never a whole tree: those hold secrets. An answer
counts only if the table of regions has it.

    AWS     https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
            In a container behind a bridge the token does not come back: its hop limit is 1 unless the instance says 2.
    Google  https://cloud.google.com/compute/docs/metadata/querying-metadata, which asks for Metadata-Flavor both ways
    Azure   https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service, which refuses proxies
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import httpx

from agent.errors import ReadFailed
from agent.grids.regions import region
from agent.model import Located
from agent.net.body import read_body
from agent.net.deadline import DeadlineTransport
from agent.ports import Clock
from agent.settings import METADATA_ADDRESS

BUDGET_S = 1.0

AWS_TOKEN = "/latest/api/token"  # noqa: S105 - a path
AWS_REGION = "/latest/meta-data/placement/region"
GCP_ZONE = "/computeMetadata/v1/instance/zone"
AZURE_LOCATION = "/metadata/instance/compute/location?api-version=2021-02-01&format=text"

_MAX_BYTES = 1024
_GCP_ANSWER = re.compile(r"projects/\d+/zones/([a-z0-9-]{1,40})-[a-z]")
_TOKEN = re.compile(r"[!-~]{1,512}")  # what a header can carry


def ask(clock: Clock, base_url: str = METADATA_ADDRESS, budget_s: float = BUDGET_S) -> Located:
    """The region, with the provider in found. zone is "" if nobody answered with a region of the table; detail then
    says what came. Takes budget_s at most, and does not raise."""
    end_s = clock.now().mono_s + budget_s
    strange: list[str] = []
    for i, (provider, what) in enumerate(_ASKED):
        now_s = clock.now().mono_s
        # A share of what is left, so that one who does not answer leaves time for the others.
        said = what(_Metadata(clock, base_url, now_s + (end_s - now_s) / (len(_ASKED) - i)))
        if not said:
            continue
        if (where := region(provider, said)) is not None:
            return Located(where.code, provider, f"{provider} metadata says {where.name}")
        strange.append(f"{provider} metadata says {said[:40]!r}, no region that the table knows")
    return Located(detail="; ".join(strange))


class _Metadata:
    """One service, until a moment of the monotonic clock."""

    def __init__(self, clock: Clock, base_url: str, until_mono_s: float) -> None:
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._until_mono_s = until_mono_s

    def text(self, path: str, headers: Mapping[str, str], *, method: str = "GET", sends: str = "") -> str:
        """A short answer; "" for any other status than 200, without the header `sends: Google`, or none at all."""
        transport = DeadlineTransport(self._clock)
        transport.set_deadline(self._until_mono_s)
        try:
            request = httpx.Request(method, self._base_url + path, headers={**headers, "connection": "close"})
            response = transport.handle_request(request)
            try:
                if response.status_code != httpx.codes.OK or (sends and response.headers.get(sends) != "Google"):
                    return ""
                return read_body(response, _MAX_BYTES, in_lines=False).decode("ascii", "replace").strip()
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ReadFailed, OSError, ValueError):
            return ""
        finally:
            transport.close()


def _aws(service: _Metadata) -> str:
    lifetime = {"x-aws-ec2-metadata-token-ttl-seconds": "60", "content-length": "0"}
    token = service.text(AWS_TOKEN, lifetime, method="PUT")
    if not _TOKEN.fullmatch(token):
        return ""
    return service.text(AWS_REGION, {"x-aws-ec2-metadata-token": token})


def _gcp(service: _Metadata) -> str:
    answer = service.text(GCP_ZONE, {"metadata-flavor": "Google"}, sends="metadata-flavor")
    match = _GCP_ANSWER.fullmatch(answer)
    return match[1] if match else ""


def _azure(service: _Metadata) -> str:
    return service.text(AZURE_LOCATION, {"metadata": "true"})


_ASKED: tuple[tuple[str, Callable[[_Metadata], str]], ...] = (("aws", _aws), ("gcp", _gcp), ("azure", _azure))
