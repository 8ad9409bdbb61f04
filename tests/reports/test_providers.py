"""Events of providers: signed with keys that the tests make, over HTTP to the real application."""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.errors import ConfigurationError, Rejected, Unavailable
from notifier.messages import Sms
from notifier.reports.providers.certificates import Certificates
from notifier.reports.providers.event import BadSignature, Received
from notifier.reports.providers.secrets import read_providers
from notifier.reports.providers.ses import Ses
from tests.provider import ACCEPTED, Site
from tests.relay import ScriptedRelay
from tests.service import ended, notifying, submit_one
from tests.web_client import client_of, serving

ANN = "ann@example.org"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail-events"
SNS = "https://sns.eu-central-1.amazonaws.com"
CERTIFICATE = f"{SNS}/SimpleNotificationService-0123456789abcdef.pem"
URL = "https://notifier.example.org/v1/reports/twilio"
SECRET, SIGNING_KEY, TWILIO = "a-long-random-word", "key-0123456789", "twilio-token-1"
AMAZON = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SENDGRID = ec.generate_private_key(ec.SECP256R1())


def public(key):
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


SECRETS = f"""
ses = {{ topic = "{TOPIC}" }}
postmark = {{ secret = "{SECRET}" }}
mailgun = {{ signing_key = "{SIGNING_KEY}" }}
sendgrid = {{ public_key = "{public(SENDGRID)}" }}
twilio = {{ token = "{TWILIO}", url = "{URL}" }}
"""


def written(folder, text=SECRETS, mode=0o600):
    path = folder / "reports.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def certificate(key, *, days=1):
    """A certificate of the key that is valid for so many days, or was."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    first, last = sorted((now - timedelta(days=2), now + timedelta(days=days)))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(first)
        .not_valid_after(last)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


class Amazon:
    """What SNS serves, and what it was asked for."""

    def __init__(self, pages=None):
        self.pages = {CERTIFICATE: certificate(AMAZON)} if pages is None else pages
        self.asked = []

    async def fetch(self, url):
        self.asked.append(url)
        if url not in self.pages:
            raise OSError("it answered 404")
        return self.pages[url]

    @property
    def provider(self):
        return Ses([TOPIC], Certificates(self.fetch))


# ---------------------------------------------------------------------- what providers send


def sns(message="", *, key=AMAZON, version="2", **changes):
    """The body of a call of SNS."""
    fields = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-03-01T12:00:00.000Z",
    } | changes
    order = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn"]
    named = [name for name in (*order, "Type") if name in fields]
    signed = "".join(f"{name}\n{fields[name]}\n" for name in named).encode()
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = key.sign(signed, PKCS1v15(), algorithm)
    fields |= {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}
    return json.dumps({"SigningCertURL": CERTIFICATE} | fields).encode()


def ses_event(kind, id, **said):
    """Of a topic that includes the original headers."""
    return {
        "notificationType": kind,
        "mail": {
            "source": "us@example.org",
            "messageId": "0102-ses",
            "headers": [{"name": "Message-ID", "value": f"<{id}@example.org>"}],
        },
        kind[0].lower() + kind[1:]: {"timestamp": "2026-03-01T12:00:00.000Z"} | said,
    }


def bounced_at_ses(id, *, kind="Permanent", **changes):
    who = {"emailAddress": ANN, "status": "5.1.1", "diagnosticCode": "smtp; 550 no such user"}
    return ses_event("Bounce", id, bounceType=kind, bouncedRecipients=[who | changes])


def postmark(id, **changes):
    event = {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "Name": "Hard bounce",
        "Details": "smtp;550 5.1.1 no such user",
        "Email": ANN,
        "BouncedAt": "2026-03-01T12:00:00.2735393-04:00",
        "Metadata": {"Notifier": id},
    }
    login = base64.b64encode(f"notifier:{SECRET}".encode()).decode()
    return json.dumps(event | changes).encode(), {"Authorization": f"Basic {login}"}


def mailgun(id, *, key=SIGNING_KEY, age=0.0, **changes):
    event = {
        "event": "failed",
        "severity": "permanent",
        "timestamp": time.time(),
        "recipient": ANN,
        "delivery-status": {"code": 550, "message": "5.1.1 no such user"},
        "message": {"headers": {"message-id": f"{id}@example.org"}},
    }
    timestamp, token = str(int(time.time() - age)), "t" * 50
    digest = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    signature = {"timestamp": timestamp, "token": token, "signature": digest}
    return json.dumps({"signature": signature, "event-data": event | changes}).encode(), {}


def sendgrid(*events, key=SENDGRID, age=0.0):
    body, timestamp = json.dumps(events).encode(), str(int(time.time() - age))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


def at_sendgrid(id, kind="bounce", **changes):
    event = {"event": kind, "email": ANN, "timestamp": 1772366400, "sg_event_id": "x"}
    known = {"smtp-id": f"<{id}@example.org>", "status": "5.1.1", "reason": "550 no such user"}
    return event | known | changes


def twilio(id, *, token=TWILIO, **fields):
    """The query, the body, and the headers."""
    query = f"message={id}"
    form = {"MessageSid": "SM1", "To": "+12025550123", "MessageStatus": "undelivered"} | fields
    signed = f"{URL}?{query}" + "".join(f"{name}{form[name]}" for name in sorted(form))
    digest = base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()
    return query, urlencode(form).encode(), {"X-Twilio-Signature": digest}


# ---------------------------------------------------------------------- over HTTP


@contextlib.asynccontextmanager
async def posting(folder, **changes):
    """A service with these secrets, its client, and the id of a message that was sent."""
    folder.mkdir(exist_ok=True)
    async with (
        ScriptedRelay() as relay,
        notifying(folder, relay, report_secrets=str(written(folder)), **changes) as service,
        client_of(service) as client,
    ):
        id = await submit_one(service)
        await ended(service, id)
        yield service, client, id


async def later(service, id):
    (recipient,) = (await service.message(id)).recipients
    return recipient.later


async def test_each_provider_reports_a_bounce(tmp_path):
    """By its own signature and in its own form, and no API key is needed."""
    for name in ("postmark", "mailgun", "sendgrid"):
        async with posting(tmp_path / name) as (service, client, id):
            made = {
                "postmark": postmark(id),
                "mailgun": mailgun(id),
                "sendgrid": sendgrid(at_sendgrid(id)),
            }
            body, headers = made[name]
            answer = await client.post(f"/v1/reports/{name}", content=body, headers=headers)
            assert answer.json() == {"taken": 1, "repeated": 0, "unknown": 0}, answer.text
            found = await later(service, id)
            assert (found.state, found.code, found.road) == ("bounced", "5.1.1", name)
            again = await client.post(f"/v1/reports/{name}", content=body, headers=headers)
            assert again.json() == {"taken": 0, "repeated": 1, "unknown": 0}


async def test_a_provider_without_a_secret_is_not_found(tmp_path):
    """Nor is one that nobody knows, nor any where no file is set."""
    async with posting(tmp_path) as (_, client, _):
        assert (await client.post("/v1/reports/mailchimp", content=b"{}")).status_code == 404
    async with serving(tmp_path) as (_, client):
        answer = await client.post("/v1/reports/postmark", content=b"{}")
    assert answer.status_code == 404
    assert "NOTIFIER_REPORT_SECRETS" in answer.json()["detail"]


async def test_f57_a_wrong_signature_is_refused(tmp_path):
    """403 with a problem that says what is wrong; nothing is believed."""
    other = ec.generate_private_key(ec.SECP256R1())
    async with posting(tmp_path) as (service, client, id):
        wrong = {
            "postmark": (postmark(id)[0], {"Authorization": "Basic bm90aWZpZXI6d3Jvbmc="}),
            "mailgun": mailgun(id, key="another"),
            "sendgrid": sendgrid(at_sendgrid(id), key=other),
            "ses": (sns(bounced_at_ses(id), TopicArn=TOPIC + "x"), {}),
            "twilio": twilio(id, token="another")[1:],
        }
        for name, (body, headers) in wrong.items():
            answer = await client.post(f"/v1/reports/{name}", content=body, headers=headers)
            assert answer.status_code == 403, name
            assert name in answer.json()["detail"] or "signature" in answer.json()["detail"]
            bare = await client.post(f"/v1/reports/{name}", content=body)
            assert bare.status_code == 403, name
        assert await later(service, id) is None


async def test_a_signature_of_last_week_is_refused(tmp_path):
    """Somebody may have kept it."""
    week = 7 * 86400.0
    async with posting(tmp_path) as (_, client, id):
        for name, (body, headers) in {
            "mailgun": mailgun(id, age=week),
            "sendgrid": sendgrid(at_sendgrid(id), age=week),
        }.items():
            answer = await client.post(f"/v1/reports/{name}", content=body, headers=headers)
            assert answer.status_code == 403


async def test_many_events_come_in_one_request(tmp_path):
    """What is about no message of ours is counted apart."""
    async with posting(tmp_path) as (service, client, id):
        events = [at_sendgrid("f" * 32) for _ in range(120)]
        events += [at_sendgrid(id, "open"), at_sendgrid(id, "deferred"), at_sendgrid(id)]
        body, headers = sendgrid(*events)
        answer = await client.post("/v1/reports/sendgrid", content=body, headers=headers)
        assert answer.json()["unknown"] == 120
        assert (await later(service, id)).state == "bounced"


async def test_a_browser_of_another_site_gains_nothing(tmp_path):
    """A program is let through although it is no browser; the signature decides."""
    async with posting(tmp_path) as (_, client, id):
        body, headers = postmark(id)
        answer = await client.post(
            "/v1/reports/postmark",
            content=body,
            headers=headers | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        )
        assert answer.status_code == 200
        answer = await client.post(
            "/v1/reports/postmark", content=body, headers=headers | {"Host": "evil.example"}
        )
        assert answer.status_code == 421


@pytest.mark.parametrize(
    ("status", "state"),
    [("sent", "relayed"), ("delivered", "delivered"), ("undelivered", "bounced")],
)
async def test_twilio_says_what_became_of_a_text(tmp_path, status, state):
    """The URL that each text brings names the message."""
    async with posting(tmp_path) as (service, client, id):
        query, body, headers = twilio(id, MessageStatus=status, ErrorCode="30003")
        answer = await client.post(f"/v1/reports/twilio?{query}", content=body, headers=headers)
        assert answer.json()["taken"] == 1, answer.text
        found = await later(service, id)
        assert found.state == state
        assert "30003" in found.text


async def test_a_relay_gets_the_id_in_the_header_that_it_wants(tmp_path):
    """Postmark gives `X-PM-Metadata-...` back with each event. The content follows as it is."""
    async with ScriptedRelay() as relay:
        spec = replace(relay.spec, id_header="X-PM-Metadata-notifier")
        async with notifying(tmp_path, relays=(spec,)) as service:
            id = await submit_one(service)
            await ended(service, id)
            content = await service.content(id)
    ((_, _, sent),) = relay.received
    assert sent == f"X-PM-Metadata-notifier: {id}\r\n".encode() + content


async def test_a_text_ends_as_its_status_callback_says(tmp_path):
    """Twilio is given the URL with the text; a call of it finds the message."""
    async with (
        Site(ACCEPTED) as site,
        notifying(
            tmp_path,
            report_secrets=str(written(tmp_path)),
            sms_provider=f"twilio://AC0123456789:{TWILIO}@127.0.0.1:{site.port}?from=+15005550006",
        ) as service,
        client_of(service) as client,
    ):
        id = await submit_one(service, Sms(to="+12025550123", text="Hello"))
        assert (await ended(service, id)).handed_to == "provider"
        ((_, _, form),) = site.requests
        (callback,) = parse_qs(form.decode())["StatusCallback"]
        assert callback == f"{URL}?message={id}"
        query, body, headers = twilio(id, MessageStatus="delivered")
        answer = await client.post(f"/v1/reports/twilio?{query}", content=body, headers=headers)
        assert answer.json()["taken"] == 1, answer.text
        assert (await later(service, id)).state == "delivered"


# ---------------------------------------------------------------------- Amazon


async def read(provider, body):
    return await provider.read(Received({}, "", body))


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_signatures_of_sns_are_checked(version):
    """The certificate is fetched once."""
    amazon = Amazon()
    provider = amazon.provider
    for _ in range(2):
        body = sns(bounced_at_ses("f" * 32), version=version, Subject="Hello")
        (report,) = await read(provider, body)
    assert (report.state, report.code, report.recipients) == ("bounced", "5.1.1", (ANN,))
    assert report.message_id == f"<{'f' * 32}@example.org>"
    assert report.paths == ("us@example.org",)
    assert report.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert amazon.asked == [CERTIFICATE]


@pytest.mark.parametrize(
    "body",
    [
        sns(bounced_at_ses("f" * 32), key=STRANGER),
        sns(bounced_at_ses("f" * 32)).replace(b"550 no such", b"250 fine and"),
        sns(bounced_at_ses("f" * 32), SigningCertURL="https://evil.example/a.pem"),
        sns("", SigningCertURL=f"{SNS}.evil.example/SimpleNotificationService-0.pem"),
        sns("", SigningCertURL=CERTIFICATE.replace("https", "http")),
        sns("", SigningCertURL=CERTIFICATE.replace("eu-central-1", "us-east-1")),
        sns("", SigningCertURL=f"{SNS}@evil.example/SimpleNotificationService-0.pem"),
        sns("", SigningCertURL=f"{SNS}/other.pem"),
        sns("", TopicArn="arn:aws:sns:eu-central-1:999999999999:mail-events"),
        sns("", version="3"),
    ],
)
async def test_f57_an_event_not_signed_by_sns_is_refused(body):
    """And nothing but certificates of SNS is fetched."""
    amazon = Amazon()
    with pytest.raises(BadSignature):
        await read(amazon.provider, body)
    assert set(amazon.asked) <= {CERTIFICATE}


async def test_a_certificate_that_has_ended_is_refused():
    """The signature alone would be right."""
    amazon = Amazon({CERTIFICATE: certificate(AMAZON, days=-1)})
    with pytest.raises(BadSignature, match="not valid now"):
        await read(amazon.provider, sns(bounced_at_ses("f" * 32)))


async def test_a_certificate_that_cannot_be_fetched_is_tried_again():
    """The call is answered with 503, and SNS comes again."""
    with pytest.raises(Unavailable):
        await read(Amazon({}).provider, sns(bounced_at_ses("f" * 32)))


async def test_a_subscription_to_our_topic_is_confirmed():
    """By its link, if that leads to SNS."""
    link = f"{SNS}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"
    amazon = Amazon()
    amazon.pages[link] = b"<ConfirmSubscriptionResponse/>"
    asked = {"Type": "SubscriptionConfirmation", "Token": "2336"}
    assert await read(amazon.provider, sns("confirm", SubscribeURL=link, **asked)) == []
    assert amazon.asked[-1] == link
    for wrong in (f"https://evil.example/{link}", link.replace("Confirm", "Delete")):
        with pytest.raises(BadSignature):
            await read(amazon.provider, sns("confirm", SubscribeURL=wrong, **asked))
    assert wrong not in amazon.asked


@pytest.mark.parametrize(
    ("event", "states"),
    [
        (bounced_at_ses("f" * 32, kind="Transient", status="4.4.7"), ["delayed"]),
        (bounced_at_ses("f" * 32, kind="Transient", status="", action="failed"), ["bounced"]),
        (bounced_at_ses("f" * 32, kind="Undetermined", status=""), ["delayed"]),
        (ses_event("Complaint", "f" * 32, complainedRecipients=[{"emailAddress": ANN}]),
         ["complained"]),
        (ses_event("Complaint", "f" * 32, complainedRecipients=[{"emailAddress": ANN}],
                   complaintFeedbackType="not-spam"), []),
        (ses_event("Delivery", "f" * 32, recipients=[ANN, "bob@example.org"]),
         ["delivered", "delivered"]),
        (ses_event("DeliveryDelay", "f" * 32, delayedRecipients=[{"emailAddress": ANN}]),
         ["delayed"]),
        ({"eventType": "Open", "mail": {}}, []),
        ({"eventType": "Bounce", "bounce": {"bouncedRecipients": "x"}, "mail": 3}, []),
    ],
)  # fmt: skip
async def test_events_of_ses_are_read(event, states):
    """By what SES says of each recipient."""
    found = await read(Amazon().provider, sns(event))
    assert [each.state for each in found] == states


# ---------------------------------------------------------------------- any octets


@given(st.sampled_from(["ses", "postmark", "mailgun", "sendgrid", "twilio"]), st.data())
async def test_any_octets_are_refused(providers, name, data):
    """A body without a signature raises nothing but what is answered with 4xx."""
    body = data.draw(
        st.one_of(st.binary(max_size=200), _JSON.map(lambda it: json.dumps(it).encode()))
    )
    with pytest.raises(Rejected):
        await providers[name].read(Received({"authorization": "Basic x"}, "a=b", body))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["signature", "event-data", "event", "Type", "TopicArn", "mail", "timestamp", "token",
             "bounce", "bouncedRecipients", "headers", "RecordType", "Metadata", "email", "name"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
async def test_any_signed_event_is_read_or_refused(providers, event):
    """A provider that changes its form breaks nothing: what is not understood says nothing."""
    signed = {
        "mailgun": mailgun("x", **event) if isinstance(event, dict) else (b"{}", {}),
        "sendgrid": sendgrid(*event) if isinstance(event, list) else sendgrid(event),
        "postmark": (json.dumps(event).encode(), postmark("x")[1]),
        "ses": (sns(event), {}),
    }
    for name, (body, headers) in signed.items():
        provider = Amazon().provider if name == "ses" else providers[name]
        lower = {key.lower(): value for key, value in headers.items()}
        with contextlib.suppress(Rejected):
            await provider.read(Received(lower, "", body))


@pytest.fixture(scope="module")
def providers(tmp_path_factory):
    return read_providers(written(tmp_path_factory.mktemp("secrets")))


# ---------------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ses = {}", "topic is missing"),
        ('ses = { topic = "mail-events" }', "not the ARN"),
        ("ses = { topic = [] }", "list of texts"),
        ('postmark = { secret = "short" }', "16 characters"),
        ('postmark = "hush-hush-hush-hush"', "must be a table"),
        ('mailgun = { signing_key = "a", secret = "b" }', "secret: unknown"),
        ('sendgrid = { public_key = "hush-hush" }', "verification key"),
        ('twilio = { token = "hush-hush", url = "http://example.org/" }', "https://"),
        ('mandrill = { key = "hush-hush" }', "is not a known provider"),
        ("ses = {", "not TOML"),
    ],
)
def test_a_file_that_is_wrong_says_what_is_right(tmp_path, text, fault):
    """It names the file and the provider, and repeats no secret."""
    with pytest.raises(ConfigurationError, match=fault) as wrong:
        read_providers(written(tmp_path, text))
    assert "hush" not in str(wrong.value)
    assert "reports.toml" in str(wrong.value)


def test_every_fault_is_named_at_once(tmp_path):
    """Of each provider."""
    with pytest.raises(ConfigurationError) as wrong:
        read_providers(written(tmp_path, 'ses = {}\npostmark = {}\nmandrill = "x"'))
    assert len(wrong.value.faults) == 3


def test_a_file_that_others_may_read_is_a_fault(tmp_path):
    """They could make events."""
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_providers(written(tmp_path, mode=0o644))
    assert set(read_providers(written(tmp_path, mode=0o640))) >= {"ses", "twilio"}


def test_a_file_that_is_missing_is_a_fault(tmp_path):
    """It is named."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_providers(tmp_path / "nowhere.toml")
