"""
Have a proxy connect us to a relay: CONNECT (RFC 9110, section 9.3.6) or SOCKS5 (RFC 1928, with
the login of RFC 1929). The relay's name is left to the proxy to look up.

A relay speaks first, and its greeting may be here together with the proxy's answer. So not an
octet more is read than the answer has: the rest is the relay's.
"""

import asyncio
import base64
import re
import socket

from notifier.proxies import Proxy
from notifier.smtp.failures import Unfit

UNREACHABLE = "proxy_unreachable"
REFUSED = "proxy_refused"
LOGIN_FAILED = "proxy_auth_failed"

LARGEST_ANSWER = 16 * 1024  # octets of an HTTP answer
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_SOCKS_REPLIES = {
    1: "it has a general failure",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable, or its name was not found",
    5: "the relay refuses connections",
    6: "the relay did not answer in time",
    7: "it does not know CONNECT",
    8: "it does not support this kind of address",
}


async def tunnel(connected: socket.socket, proxy: Proxy, host: str, port: int) -> str:
    """
    Ask the proxy at the other end for a connection to the relay; what it said. The socket does
    not block. Raises Unfit, and OSError where the proxy goes away.
    """
    ask = _connect if proxy.scheme == "http" else _socks
    return await ask(connected, proxy, host, port)


def unreachable(proxy: Proxy, why: str) -> Unfit:
    return Unfit(UNREACHABLE, f"the proxy {proxy.place} cannot be reached: {why}")


def _refused(proxy: Proxy, why: str, name: str = REFUSED) -> Unfit:
    return Unfit(name, f"the proxy {proxy.place} refuses: {why}")


async def _connect(connected: socket.socket, proxy: Proxy, host: str, port: int) -> str:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.username:
        login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, "\r\n".join([*lines, "", ""]).encode())
    answer = await _head(connected)
    status = _STATUS.match(answer)
    if status is None:
        raise _refused(proxy, "its answer is not HTTP")
    code = int(status[1])
    said = f"{code} {(status[2] or b'').decode('ascii', 'replace')[:100].strip()}".rstrip()
    if code == 407:
        raise _refused(proxy, f"{said} (it requires another login)", LOGIN_FAILED)
    if not 200 <= code < 300:
        raise _refused(proxy, said)
    return said


async def _head(connected: socket.socket) -> bytes:
    """The head of an HTTP answer, and not an octet of what comes after it."""
    loop = asyncio.get_running_loop()
    head = b""
    while len(head) < LARGEST_ANSWER:
        octet = await loop.sock_recv(connected, 1)  # a few dozen, once for each connection
        if not octet:
            raise ConnectionResetError
        head += octet
        if octet == b"\n" and _END.search(head, max(0, len(head) - 4)):
            break
    return head


async def _socks(connected: socket.socket, proxy: Proxy, host: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    methods = b"\x00\x02" if proxy.username else b"\x00"
    await loop.sock_sendall(connected, bytes([5, len(methods)]) + methods)
    version, method = await _exactly(connected, 2)
    if version != 5:
        raise _refused(proxy, "its answer is not SOCKS5")
    if method == 2 and proxy.username:
        user, password = proxy.username.encode(), proxy.password.encode()
        login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        await loop.sock_sendall(connected, login)
        _, status = await _exactly(connected, 2)
        if status:
            raise _refused(proxy, "the user or the password is wrong", LOGIN_FAILED)
    elif method:
        raise _refused(proxy, "it requires another kind of login", LOGIN_FAILED)
    await loop.sock_sendall(connected, b"\x05\x01\x00" + _address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = await _exactly(connected, 4)
    if reply:
        raise _refused(proxy, _SOCKS_REPLIES.get(reply, f"reply {reply}"))
    length = {1: 4, 4: 16}.get(kind) or (await _exactly(connected, 1))[0]
    await _exactly(connected, length + 2)
    return "connected"


def _address(host: str) -> bytes:
    for family, kind in ((socket.AF_INET, b"\x01"), (socket.AF_INET6, b"\x04")):
        try:
            return kind + socket.inet_pton(family, host)
        except OSError:
            continue
    name = host.encode("idna") if not host.isascii() else host.encode()
    return b"\x03" + bytes([len(name)]) + name


async def _exactly(connected: socket.socket, octets: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    while len(got) < octets:
        more = await loop.sock_recv(connected, octets - len(got))
        if not more:
            raise ConnectionResetError
        got += more
    return got
