"""The file of NOTIFIER_OAUTH: every fault by name, and no secret in any of them."""

import importlib.util
import json
import re

import pytest

from notifier.errors import ConfigurationError
from notifier.oauth import grants_of, read_sections
from notifier.relayspec import RelaySpec, Tls
from notifier.settings import Settings
from tests.paths import PACKAGE
from tests.process import run

RELAY = RelaySpec(
    name="m365", host="h", port=587, tls=Tls.STARTTLS, username="us@corp.example", oauth="m365"
)
MICROSOFT = 'preset = "microsoft"\ntenant = "corp.example"\nclient_id = "us"\n'


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hush-hush\n")
    return path


def read(folder, text):
    path = folder / "oauth.toml"
    path.write_text(text)
    return read_sections(path)


def faults_of(folder, text):
    with pytest.raises(ConfigurationError) as raised:
        read(folder, text)
    return [fault.removeprefix(f"{folder}/oauth.toml: ") for fault in raised.value.faults]


def test_each_kind_has_its_endpoint_and_its_scope(tmp_path, secret):
    """Microsoft's and Google's are known; a section of neither says its own."""
    key = {"token_uri": "https://oauth2.example/token", "client_email": "a", "private_key": "b"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    sections = read(
        tmp_path,
        f"""
        [m365]
        {MICROSOFT}
        client_secret_file = "{secret}"
        [google]
        preset = "google"
        key_file = "{tmp_path}/key.json"
        [other]
        token_url = "https://login.example/token"
        client_id = "us"
        client_secret_file = "{secret}"
        [anything]
        command = ["/bin/echo", "token"]
        """,
    )
    relays = [
        RelaySpec(name=name, host="h", port=1, username="us@corp.example", oauth=name)
        for name in sections
    ]
    found = grants_of(relays, sections)
    assert [(each.source, each.scope, each.subject) for each in found.values()] == [
        (
            "https://login.microsoftonline.com/corp.example/oauth2/v2.0/token",
            "https://outlook.office365.com/.default",
            "",
        ),
        ("https://oauth2.example/token", "https://mail.google.com/", "us@corp.example"),
        ("https://login.example/token", "", ""),
        ("command /bin/echo", "", ""),
    ]


def test_relays_of_one_section_share_a_token_unless_it_is_for_a_user(tmp_path, secret):
    """A service account acts for one user at a time; an application is itself."""
    sections = read(tmp_path, f'[m365]\n{MICROSOFT}client_secret_file = "{secret}"')
    other = RelaySpec(name="two", host="h", port=1, username="b@corp.example", oauth="m365")
    first, second = grants_of([RELAY, other], sections).values()
    assert first == second


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("client_id = 3", ["client_id is outside of a section; write [NAME] above it"]),
        ("[a]\nclient_secret = hush-hush", ["is not TOML"]),
        ('[a]\npreset = "azure"', ['[a] preset must be "microsoft" or "google"']),
        (
            f'[a]\n{MICROSOFT}client_secret = "hush-hush"',
            [
                "[a] client_secret: a secret must be in a file; write client_secret_file",
                "[a] client_secret_file or certificate_file is missing",
            ],
        ),
        (
            '[a]\npreset = "microsoft"\ntenant = "a/b"\nclient_id = 3\ntenent = "x"\n'
            'client_secret_file = "/nowhere"\n[b]\ntoken_url = "http://login.example/token"\n',
            [
                "[a] tenent is not a known field; known: certificate_file, client_id,"
                " client_secret_file, preset, scope, tenant, token_url",
                "[a] tenant must be the id of a directory, or one of its domains",
                "[a] client_secret_file: /nowhere: No such file or directory",
                "[a] client_id must be a text of visible characters",
                "[b] client_id is missing",
                "[b] client_secret_file is missing",
                "[b] token_url: the secret would go in clear; write https:// (http:// is for"
                " loopback addresses only)",
            ],
        ),
        (
            '[a]\ncommand = "token"',
            ['[a] command must be a list of words, ["/usr/local/bin/token"]'],
        ),
        ('[a]\ncommand = ["/no/such"]', ["[a] command: there is no program /no/such"]),
        (
            '[a]\ntoken_url = "https://u:hush-hush@login.example/"\nclient_id = "us"\n'
            'client_secret_file = "SECRET"',
            ["[a] token_url must be a URL, https://HOST/PATH"],
        ),
        (
            '[a]\npreset = "google"\nkey_file = "SECRET"',
            ["[a] key_file is not the JSON key of a service account"],
        ),
        (
            f'[a]\n{MICROSOFT}certificate_file = "SECRET"',
            [
                "[a] certificate_file: SECRET must hold a certificate and its private key, in PEM"
                " and without a passphrase"
            ],
        ),
    ],
)
def test_every_fault_is_reported_by_name(text, faults, tmp_path, secret):
    """All of them together, and nothing of a secret."""
    told = faults_of(tmp_path, text.replace("SECRET", str(secret)))
    assert told == [each.replace("SECRET", str(secret)) for each in faults]
    assert "hush" not in "".join(told)


def test_the_extra_is_named_where_it_is_missing(tmp_path, secret, monkeypatch):
    """A login by secret needs none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert read(tmp_path, f'[a]\n{MICROSOFT}client_secret_file = "{secret}"')
    told = faults_of(tmp_path, f'[a]\n{MICROSOFT}certificate_file = "{secret}"')
    assert told[0] == (
        "[a] certificate_file needs a library that is not installed; run pip install"
        " 'notifier[oauth]'"
    )


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("smtp://us@mail.example?oauth=a", "oauth= needs TLS, because the token would go in clear"),
        ("smtps://mail.example?oauth=a", "oauth= needs the mailbox as the user"),
        ("smtps://us:hush@mail.example?oauth=a", "oauth= needs the mailbox as the user"),
        ("smtps://us@mail.example?oauth=a/b", "oauth= takes the name of a section"),
    ],
)
def test_a_relay_url_that_cannot_be_is_refused(url, fault):
    """Its text repeats nothing of the URL."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.read({"NOTIFIER_RELAYS": url})
    assert fault in str(raised.value)
    assert "hush" not in str(raised.value)


def test_on_loopback_a_token_may_go_in_clear():
    """For tests, and for a tunnel that ends here."""
    settings = Settings.read({"NOTIFIER_RELAYS": "smtp://us@127.0.0.1?oauth=a"})
    assert settings.relays[0].oauth == "a"
    assert "oauth=a" in dict(settings.describe())["NOTIFIER_RELAYS"]


def test_the_service_does_not_start_with_a_wrong_file(tmp_path, secret):
    """Exit 2, with the faults of the file and of the relays, before anything listens."""
    path = tmp_path / "oauth.toml"
    path.write_text(f'[a]\n{MICROSOFT}client_secret_file = "{secret}"')
    relays = "smtps://us@mail.example?oauth=b"
    served = run("serve", data_dir=tmp_path, relays=relays, oauth=path)
    assert served.returncode == 2
    fault = "relay mail.example: NOTIFIER_OAUTH has no section [b]; its sections: a"
    assert fault in served.stderr
    checked = run("check", data_dir=tmp_path, relays=relays)
    assert checked.returncode == 2
    assert "NOTIFIER_OAUTH, the file of the sections, is not set" in checked.stderr


GRAPH = "graph://corp.example/us?mailbox=noreply@corp.example&oauth=m365"


def test_graph_asks_for_a_token_of_its_own(tmp_path, secret):
    """One section serves both ways, with a scope each; its application is the URL's."""
    sections = read(tmp_path, f'[m365]\n{MICROSOFT}client_secret_file = "{secret}"')
    (graph,) = Settings.read({"NOTIFIER_RELAYS": GRAPH}).relays
    first, second = grants_of([RELAY, graph], sections).values()
    assert first.scope == "https://outlook.office365.com/.default"
    assert second.scope == "https://graph.microsoft.com/.default"
    (other,) = Settings.read({"NOTIFIER_RELAYS": GRAPH.replace("/us?", "/them?")}).relays
    with pytest.raises(
        ConfigurationError, match=r"client is them, but client of the section \[m365\] is us"
    ):
        grants_of([other], sections)


def test_a_graph_url_is_written_as_it_was():
    """With its parameters; a + in the mailbox stands for itself."""
    given = f"{GRAPH.replace('noreply', 'no+reply')}&rate=30/min&base=http://127.0.0.1:8/&name=g"
    settings = Settings.read({"NOTIFIER_RELAYS": given})
    (spec,) = settings.relays
    assert (spec.mailbox, spec.base) == ("no+reply@corp.example", "http://127.0.0.1:8")
    written = dict(settings.describe())["NOTIFIER_RELAYS"]
    assert Settings.read({"NOTIFIER_RELAYS": written}).relays == (spec,)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("graph://corp.example", "write graph://TENANT/CLIENT?mailbox=a@example.org&oauth=NAME"),
        ("graph://corp.example/us?oauth=a", "mailbox= is missing"),
        ("graph://corp.example/us?mailbox=a@b.example", "oauth= is missing"),
        ("graph://corp.example/us?mailbox=a&oauth=a", "mailbox= takes the address of a mailbox"),
        (f"{GRAPH}&base=https://evil.example", "base= is for tests"),
        (f"{GRAPH}&ca=/x", "unknown parameter 'ca'; there are name, connections, rate"),
    ],
)
def test_a_graph_url_that_cannot_be_is_refused(url, fault):
    """With words that say what would be right."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.read({"NOTIFIER_RELAYS": url})
    assert fault in str(raised.value)


def test_the_recipes_of_the_guide_are_right(tmp_path):
    """Its file has no fault where the secrets are there, and its relays have their tokens in it."""
    page = (PACKAGE / "guide" / "oauth.md").read_text()
    (file,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    key = {"token_uri": "https://oauth2.example/token", "client_email": "a", "private_key": "b"}
    for name, said in (("m365", "x"), ("other", "x"), ("google.json", json.dumps(key))):
        (tmp_path / name).write_text(said)
    file = file.replace("/run/secrets", str(tmp_path)).replace("/usr/local/bin/token", "/bin/echo")
    sections = read(tmp_path, file)
    assert list(sections) == ["m365", "google", "other", "anything"]
    urls = re.findall(r"(?:NOTIFIER_RELAYS=')(.*?)'", page)
    urls += re.findall(r"`(smtp\+starttls://\S*?oauth=\S*?)`", page)
    assert len(urls) == 3
    for url in urls:
        relays = Settings.read({"NOTIFIER_RELAYS": url}).relays
        assert len(grants_of(relays, sections)) == 1
