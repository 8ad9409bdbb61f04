"""The sockets to listen on, bound before anything else opens, so that a used port shows at once."""

import errno
import socket
from typing import Any, TypeAlias

from notifier.errors import ConfigurationError, NotifierError

Address: TypeAlias = tuple[Any, ...]  # what it holds depends on the family

_SKIPPED = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(NotifierError):
    """The port cannot be used."""


def bound(host: str, port: int) -> list[socket.socket]:
    """
    A socket for each address of the host; no client can connect to them before the server
    listens. Raises CannotListen, ConfigurationError.
    """
    found: list[socket.socket] = []
    skipped: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            # With port 0 the second address gets the port that the first one was given.
            taken = found[0].getsockname()[1] if found else port
            found.append(_bound(family, (address[0], taken, *address[2:])))
        except OSError as error:
            if error.errno not in _SKIPPED:
                raise CannotListen(_fault_of(error, host, port)) from error
            skipped = error
    if not found:
        reason = skipped.strerror if skipped else "it has no address"
        raise ConfigurationError(f"NOTIFIER_HOST: cannot listen on {host}: {reason}")
    return found


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"NOTIFIER_HOST: cannot find {host}: {error}") from error
    found: dict[tuple[int, Address], None] = {
        (family, address): None for family, _, _, _, address in infos
    }
    return list(found)


def _bound(family: int, address: Address) -> socket.socket:
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError:
        taken.close()
        raise
    return taken


def _fault_of(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"NOTIFIER_PORT: {host}:{port} is in use by another process; stop it, "
            "or choose another port"
        )
    if error.errno == errno.EACCES:
        return f"NOTIFIER_PORT: port {port} needs privileges; choose 1024 or higher"
    return f"NOTIFIER_HOST, NOTIFIER_PORT: cannot listen on {host}:{port}: {error.strerror}"


def url_of(listener: socket.socket) -> str:
    """The URL of a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
