"""Why an exchange over HTTP failed, in a few stable words: no addresses, no query strings, no headers."""

from __future__ import annotations

import ssl

import httpx


def reason(fault: Exception, timeout_s: float, *, url_form: str, tls_fix: str = "") -> str:
    """The fault for a log or a metric. url_form: what a URL must look like; tls_fix: what helps against an unknown
    certificate."""
    if isinstance(fault, (httpx.TimeoutException, TimeoutError)):
        return f"timeout after {timeout_s:g} s"
    if isinstance(fault, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return f"the url cannot be used: {url_form}"
    inner = cause(fault)
    if isinstance(inner, ConnectionRefusedError):
        return "connection refused"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"tls: {inner.verify_message}" + (f": {tls_fix}" if tls_fix else "")
    if isinstance(inner, ssl.SSLError):
        return f"tls: {inner.reason or 'no agreement'}"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    if isinstance(fault, httpx.RemoteProtocolError):
        return "connection closed before the answer was complete, or not HTTP"
    return f"cannot be read ({type(fault).__name__})"


def cause(fault: BaseException) -> BaseException:
    """The innermost fault: httpx and httpcore wrap the operating system's, which their pool keeps as context."""
    while (inner := fault.__cause__ or fault.__context__) is not None:
        fault = inner
    return fault


def origin(url: httpx.URL) -> str:
    """Who answers there: scheme, host and port."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"
