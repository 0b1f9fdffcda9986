"""The listening socket and its TLS, made before any thread starts, so that what is wrong is said at once."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from pathlib import Path


class BoundedListener(socket.socket):
    """A listening socket that holds at most `bound` accepted connections open.

    One more is closed at once, before TLS and before any object is made for it: strangers can use up neither
    the process's file descriptors, which the meters need, nor its memory.
    """

    bound = 1

    def accept(self) -> tuple[socket.socket, object]:
        connection, address = super().accept()
        self._held = [held for held in getattr(self, "_held", []) if held.fileno() != -1]
        if len(self._held) >= self.bound:
            connection.close()
            raise ConnectionAbortedError("too many connections")  # the event loop goes on with the next
        self._held.append(connection)
        return connection, address


def listen(host: str, port: int, bound: int, *, section: str = "server") -> BoundedListener:
    """Bind and listen; port 0 takes any. Raises OSError that names the address and what to do. section: of the
    configuration, for that error."""
    where = address_text(host, port)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}; check {section}.listen") from error
    trouble: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            listener = BoundedListener(family, kind, protocol)
        except OSError as error:  # IPv6 switched off, say: the next address may do
            trouble = error
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # "::" means every address, the old ones too.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
            listener.bind(address)
            listener.listen(bound)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            trouble = error
            continue
        listener.bound = bound
        return listener
    reason = os.strerror(trouble.errno) if trouble is not None and trouble.errno else "no address found"
    raise OSError(
        trouble.errno if trouble is not None else 0,
        f"cannot listen on {where}: {reason}; stop what listens there or set {section}.listen"
        + (" (--listen)" if section == "server" else ""),
    ) from trouble


def address_text(host: str, port: int) -> str:
    """host:port, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(certificate: Path, key: Path, *, section: str = "server") -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate chain. Raises OSError that names the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in ((f"{section}.tls_cert", certificate), (f"{section}.tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise OSError(error.errno, f"{name}: cannot read {path}: {error.strerror}") from error
    try:
        # A password prompt would hang a daemon: an encrypted key is refused instead.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise OSError(
            f"{section}.tls_cert and {section}.tls_key: {certificate} and {key} are not a PEM certificate and its "
            f"unencrypted key: {getattr(error, 'reason', None) or error}"
        ) from error
    return context
