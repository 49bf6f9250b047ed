"""What clients of our services share: checks of addresses and of what a service says."""

import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

LONGEST_DETAIL = 300
"""Longest text of a service that is shown, characters."""


def expect_url(url: str, token: str | None, *, what: str, example: str) -> None:
    """Refuse what is no service's address, or would send the token in the clear.

    Args:
        url: the address.
        token: the token that would be sent, or None.
        what: what kind of service, for the message.
        example: addresses that would do.

    Raises:
        ConfigurationError: it cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"That is not a {what}'s address.", hint=f"It looks like {example}.")
    if parts.scheme == "http" and token and not is_here(host):
        raise ConfigurationError("Over http, others could read the token.", hint="Use https, or omit the token.")


def is_here(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trusting(authority: Path | None) -> ssl.SSLContext:
    """The authorities to trust: those of a PEM file, or the system's.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError:  # SSLError is one
        raise ConfigurationError(
            "The certificate authority's file cannot be used.",
            hint="It must be a PEM file with the authority's certificate.",
        ) from None


def printable(text: str) -> str:
    """A service's text for a terminal: short, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_DETAIL])


def retry_after(answer: "httpx.Response") -> float:
    """Seconds after which a service wants to be asked again; 0 if it does not say."""
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
