"""
The certificates by which SNS signs, fetched from Amazon and remembered. Needs the extra `reports`.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from notifier.errors import Unavailable
from notifier.reports.providers.event import BadSignature

REMEMBERED = 16
_PATH = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}

# Fetches an https URL of Amazon's. Raises OSError.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]


class Certificates:
    """Checks signatures, and follows the links of SNS that are to be followed."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[str, x509.Certificate] = {}

    async def check(
        self, signature: bytes, signed: bytes, *, version: str, url: str, host: str
    ) -> None:
        """Raises BadSignature; Unavailable where the certificate cannot be fetched now."""
        algorithm = _HASHES.get(version)
        if algorithm is None:
            raise BadSignature("SignatureVersion must be 1 or 2")
        key = (await self._certificate(url, host)).public_key()
        if not isinstance(key, RSAPublicKey):
            raise BadSignature("the certificate of SNS holds no RSA key")
        try:
            key.verify(signature, signed, PKCS1v15(), algorithm())
        except InvalidSignature:
            raise BadSignature("the signature of SNS does not match this content") from None

    async def confirm(self, url: str, host: str) -> None:
        """Confirm a subscription. Raises BadSignature, Unavailable."""
        if parse_qs(_require(url, host, "SubscribeURL")).get("Action") != ["ConfirmSubscription"]:
            raise BadSignature("SubscribeURL is not the confirmation of a subscription")
        await self._fetched(url)

    async def _certificate(self, url: str, host: str) -> x509.Certificate:
        _require(url, host, "SigningCertURL")
        if not _PATH.fullmatch(urlsplit(url).path):
            raise BadSignature("SigningCertURL does not name a certificate of SNS")
        found = self._known.get(url)
        if found is None:
            try:
                found = x509.load_pem_x509_certificate(await self._fetched(url))
            except ValueError:
                raise Unavailable("SigningCertURL did not answer with a certificate") from None
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[url] = found
        now = datetime.now(UTC)
        if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
            raise BadSignature("the certificate of SNS is not valid now")
        return found

    async def _fetched(self, url: str) -> bytes:
        try:
            return await self._fetch(url)
        except OSError as error:
            raise Unavailable(f"SNS was not reached: {error}", retry_after=60) from None


def _require(url: str, host: str, called: str) -> str:
    """The query of a URL that leads to SNS in the topic's region. Raises BadSignature."""
    try:
        parts = urlsplit(url)
        right = (parts.scheme, parts.netloc) == ("https", host)
    except ValueError:
        right = False
    if not right:
        raise BadSignature(f"{called} does not lead to https://{host}/")
    return parts.query
