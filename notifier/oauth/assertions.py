"""Signed JWTs (RFC 7519) by which a client authenticates. Needs the extra `oauth`."""

import base64
import hashlib
import json
import os
import re
import ssl
import time
from pathlib import Path

import jwt

from notifier.oauth.sections import Section
from notifier.tokens import DENIED, NoToken

SECONDS = 600  # that an assertion holds; the other side's clock may differ
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)


def by_certificate(section: Section) -> str:
    """
    Who asks, signed with the key of a certificate that the directory knows.
    https://learn.microsoft.com/entra/identity-platform/certificate-credentials
    """
    pem = Path(section.secret_file).read_text(encoding="utf-8")
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise NoToken(DENIED, f"{section.secret_file} no longer holds a certificate")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).digest()
    thumbprint = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    now = int(time.time())
    claims = {
        "aud": section.token_url,
        "iss": section.client_id,
        "sub": section.client_id,
        "jti": os.urandom(16).hex(),
        "nbf": now,
        "iat": now,
        "exp": now + SECONDS,
    }
    return _signed(claims, pem, "PS256", section, {"x5t#S256": thumbprint})


def by_service_account(section: Section) -> str:
    """
    A service account acts for a user of its domain.
    https://developers.google.com/identity/protocols/oauth2/service-account
    """
    key = json.loads(Path(section.secret_file).read_text(encoding="utf-8"))
    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "scope": section.scope,
        "aud": key["token_uri"],
        "sub": section.subject,
        "iat": now,
        "exp": now + SECONDS,
    }
    headers = {"kid": key["private_key_id"]} if "private_key_id" in key else {}
    return _signed(claims, key["private_key"], "RS256", section, headers)


def _signed(
    claims: dict[str, object],
    key: str,
    algorithm: str,
    section: Section,
    headers: dict[str, str],
) -> str:
    try:
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)
    except (ValueError, TypeError, jwt.PyJWTError):  # whose words may repeat the key
        reason = f"{section.secret_file} no longer holds an RSA key that can sign"
        raise NoToken(DENIED, reason) from None
