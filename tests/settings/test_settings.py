"""Settings: where they come from, what they mean, and that every fault is reported at once."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import notifier
from notifier.errors import ConfigurationError
from notifier.relayspec import RelaySpec, Tls
from notifier.settings import CAPTURE, FIELDS, Settings, check_access
from notifier.settings.parsers import read_duration, write_duration
from notifier.settings.relay_parameters import PARAMETERS
from tests.paths import ROOT

README = ROOT / "README.md"
PAGE = Path(notifier.__file__).parent / "guide" / "settings.md"
SECRET = "s3cr3t-Wort"


def read(config=None, **given):
    return Settings.read(
        {f"NOTIFIER_{name.upper()}": text for name, text in given.items()}, config=config
    )


def faults(config=None, **given):
    with pytest.raises(ConfigurationError) as refused:
        read(config, **given)
    return refused.value.faults


def relay(url, **given):
    (spec,) = read(relays=url, **given).relays
    return spec


def test_nothing_has_to_be_set():
    """With an empty environment it is a loopback service that sends to its own mailbox."""
    settings = read()
    assert (settings.host, settings.port, settings.relays) == ("127.0.0.1", 8014, ())
    assert settings.retry_schedule == (30, 60, 120, 300, 600, 1200, 2400, 3600)
    assert (settings.expire_after, settings.grace, settings.queue_size) == (172_800, 20, 64)
    check_access(settings, keys_exist=False)


def test_other_variables_are_ignored():
    """What does not begin with NOTIFIER_ is not looked at; empty is as good as not there."""
    assert Settings.read({"PORT": "x", "NOTIFIER_PORT": "", "NOTIFIER_NOPE": " "}) == read()


def test_the_stronger_source_wins(tmp_path):
    """Environment over file of a secret, file of a secret over TOML, TOML over defaults."""
    toml = tmp_path / "n.toml"
    toml.write_text('workers = 3\nport = 9000\nrelay_password = "toml"\nrelays = ["smtp://u@h"]\n')
    secret = tmp_path / "password"
    secret.write_text("filed\n")
    settings = read(toml, port="9001", relay_password_file=str(secret))
    assert (settings.workers, settings.port, settings.grace) == (3, 9001, 20)
    assert settings.relays[0].password == "filed"


def test_the_toml_file_may_be_named_by_the_environment(tmp_path):
    """NOTIFIER_CONFIG names one; an argument is stronger."""
    for number in (1, 2):
        (tmp_path / f"{number}.toml").write_text(f"workers = {number}")
    named = {"config": str(tmp_path / "1.toml")}
    environ = {"NOTIFIER_CONFIG": named["config"]}
    assert Settings.read(environ).workers == 1
    assert Settings.read(environ, config=tmp_path / "2.toml").workers == 2


def test_toml_speaks_numbers_and_lists(tmp_path):
    """Durations may be plain seconds, and lists may be TOML's own."""
    toml = tmp_path / "n.toml"
    toml.write_text(
        'grace = 2.5\nretry_schedule = ["1s", 5]\nmax_body = "1KiB"\n'
        'relays = ["smtp://a", "smtp://b:26"]\n'
    )
    settings = read(toml)
    assert (settings.grace, settings.retry_schedule, settings.max_body) == (2.5, (1, 5), 1024)
    assert [spec.name for spec in settings.relays] == ["a", "b:26"]


def test_every_fault_is_reported_and_named(tmp_path):
    """One start shows all mistakes, each with its variable, its place and what would be right."""
    toml = tmp_path / "n.toml"
    toml.write_text('workers = "many"\nworkres = 2\ngrace = true\n')
    found = faults(
        toml,
        port="eighty",
        expire_after="48 hours",
        log_level="loud",
        realys="smtp://x",
        relays="smtp://a?conections=1,ftp://b",
        relay_password="x",
        relay_password_file="/nonexistent",
    )
    expected = [
        rf"NOTIFIER_WORKERS \(workers in {toml}\): 'many' is not a whole number from 1 to 1000",
        rf"workres in {toml}: .*did you mean workers\?",
        rf"NOTIFIER_GRACE \(grace in {toml}\): it must be a text, a number",
        r"NOTIFIER_PORT: 'eighty' is not a whole number from 0 to 65535",
        r"NOTIFIER_EXPIRE_AFTER: '48 hours' is not a duration; write 500ms, 30s",
        r"NOTIFIER_LOG_LEVEL: 'loud' is not one of debug, info, warning, error",
        r"NOTIFIER_REALYS: .*did you mean NOTIFIER_RELAYS\?",
        r"NOTIFIER_RELAYS: relay 1: unknown parameter 'conections'",
        r"NOTIFIER_RELAYS: relay 2: it must begin with smtp://",
        r"NOTIFIER_RELAY_PASSWORD and NOTIFIER_RELAY_PASSWORD_FILE are both set",
    ]
    for pattern in expected:
        assert any(re.search(pattern, fault) for fault in found), (pattern, found)
    assert len(found) == len(expected)


@pytest.mark.parametrize("content", [b"workers = ", b"\xff\xfe", None])
def test_a_file_that_cannot_be_used_is_a_fault(tmp_path, content):
    """A configuration file that is missing, is no TOML or no text is named."""
    toml = tmp_path / "n.toml"
    if content is not None:
        toml.write_bytes(content)
    (fault,) = faults(toml)
    assert str(toml) in fault
    assert fault.startswith("--config: ")


def test_secrets_come_from_files(tmp_path):
    """One newline at the end is the editor's; every other character belongs to the secret."""
    secret = tmp_path / "secret"
    secret.write_text(" pass word \n")
    assert relay("smtp://u@h", relay_password_file=str(secret)).password == " pass word "
    secret.write_bytes(b"pass word\r\n")
    assert relay("smtp://u@h", relay_password_file=str(secret)).password == "pass word"
    secret.write_text("smtp://a,smtp://b\n")
    assert len(read(relays_file=str(secret)).relays) == 2
    secret.write_text("ftp://a")
    (fault,) = faults(relays_file=str(secret))
    assert fault.startswith(f"NOTIFIER_RELAYS (from NOTIFIER_RELAYS_FILE={secret}): relay 1")
    secret.write_bytes(b"\xff")
    assert "not UTF-8" in faults(relays_file=str(secret))[0]
    assert "cannot read /nonexistent" in faults(relays_file="/nonexistent")[0]
    assert "only secrets are read from files" in faults(port_file="/nonexistent")[0]


def test_kubernetes_may_put_its_own_next_to_ours():
    """What it sets for a service called notifier is no fault; but for the port, which says why."""
    assert Settings.read(
        {"NOTIFIER_SERVICE_HOST": "10.0.0.1", "NOTIFIER_PORT_8014_TCP_ADDR": "10.0.0.1"}
    )
    assert "enableServiceLinks" in faults(port="tcp://10.0.0.1:8014")[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1m", 60), ("2h", 7200), ("30d", 2_592_000), ("7", 7)],
)
def test_durations(text, seconds):
    """A number and a unit; without one it is seconds."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0s", "0.1ms", "-1s", "1 s", "1w", "inf", "nan", "1e3", "9999d", "٣s"]
)
def test_invalid_durations(text):
    """Nothing is guessed: zero, negative, endless and foreign spellings are refused."""
    with pytest.raises(ValueError, match=r"write|out of range"):
        read_duration(text)


@given(st.integers(1, 10**9))
def test_durations_are_written_as_they_are_read(milliseconds):
    """What `notifier config` prints can be set again."""
    seconds = milliseconds / 1000
    assert read_duration(write_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "octets"), [("15MB", 15_000_000), ("512KiB", 524_288), ("1024", 1024), ("1 GB", 10**9)]
)
def test_sizes(text, octets):
    """Decimal and binary units, or plain octets."""
    assert read(max_body=text).max_body == octets


def test_relay_urls():
    """Scheme, credentials, place and every parameter end up where they belong."""
    assert relay("smtp+starttls://us%40er:p%2Fw%2C%3A@mail.example.org?rate=60/min&name=main") == (
        RelaySpec(
            name="main",
            host="mail.example.org",
            port=587,
            tls=Tls.STARTTLS,
            username="us@er",
            password="p/w,:",
            rate=1.0,
        )
    )
    assert relay("smtp://h").port == 25
    assert relay("smtps://h").port == 465
    assert relay("smtps://[::1]:2465").host == "::1"
    full = relay(f"smtps://h/?connections=3&messages_per_connection=7&rate=36/h&ca={README}")
    assert (full.connections, full.messages_per_connection) == (3, 7)
    assert (full.rate, full.ca) == (0.01, str(README))


def test_a_name_for_ehlo_is_for_all_relays_but_those_that_have_their_own():
    """The common one is put to each; the mailbox, which nobody looks at, is left as it is."""
    relays = "smtp://a,smtp://b?ehlo_name=[IPv6:2001:db8::1],capture:"
    settings = read(relays=relays, ehlo_name="mail.example.org")
    names = [spec.ehlo_name for spec in settings.relays]
    assert names == ["mail.example.org", "[IPv6:2001:db8::1]", None]
    assert settings.relays[2] == CAPTURE
    written = dict(settings.describe())
    assert relay(written["NOTIFIER_RELAYS"].split(",")[1]).ehlo_name == "[IPv6:2001:db8::1]"
    assert written["NOTIFIER_EHLO_NAME"] == "mail.example.org"
    assert relay("smtp://a").ehlo_name is None


@pytest.mark.parametrize(
    "name",
    [
        "my_host", "-a.example", "a-.example", "a..b", ".", "a.example.", "10.0.0.1", "[10.0.0]",
        "[::1]", "[IPv6:10.0.0.1]", "[IPv6:fe80::1%eth0]", "bücher.example", "a b", f"{'a' * 64}.b",
        "a\u0000b", "[x]", "[]", ".".join(["a" * 60] * 5),
    ],
)  # fmt: skip
def test_a_wrong_ehlo_name_is_refused(name):
    """RFC 5321, sections 4.1.2 and 4.1.3: a domain or an address literal; said at the start."""
    (fault,) = faults(ehlo_name=name)
    assert fault.startswith("NOTIFIER_EHLO_NAME: ")
    assert "write mail.example.org or [192.0.2.1]" in fault
    (fault,) = faults(relays=f"smtp://h?ehlo_name={quote(name)}")
    assert "ehlo_name= takes a host name" in fault


@pytest.mark.parametrize("name", ["a", "mail.example.org", "xn--bcher-kva.example", "[192.0.2.1]"])
def test_a_name_for_ehlo(name):
    """One label is enough where the operator says so."""
    assert read(ehlo_name=name).ehlo_name == name


def test_the_mailbox_is_a_relay_among_others():
    """Alone, it is what there is without a relay; with others it has its place in the order."""
    assert read(relays="capture:").relays == ()
    assert read(relays="smtp://a, capture:").relays[1] == CAPTURE


def test_the_common_password_is_for_relays_with_a_user_only():
    """It goes to those whose URL has a user and no password, and to no other."""
    specs = read(relays="smtp://u@a,smtp://v:own@b,smtp://c", relay_password="common").relays
    assert [spec.password for spec in specs] == ["common", "own", None]
    (fault,) = faults(relays="smtp://u@a,smtp://c")
    assert "a has a user but no password" in fault
    assert "NOTIFIER_RELAY_PASSWORD_FILE" in fault


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mail.example.org", "it must begin with smtp://"),
        ("SMTP+TLS://h", "it must begin with smtp://"),
        ("smtp://", "it names no host"),
        ("smtp://h:99999", "the port must be a number"),
        ("smtp://h:x", "the port must be a number"),
        ("smtp://h:0", "the port must be a number"),
        ("smtp://h/path", "only ?name=value"),
        ("smtp://u:25/w@h", "write @ / ? # as %40"),
        ("smtp://u:25?name=w@h", "write @ / ? # as %40"),
        ("smtp://h#x", "only ?name=value"),
        ("smtp://[::1", "it is not a URL"),
        ("smtp://:pw@h", "a password but no user"),
        ("smtp://u:%FF@h", "must be UTF-8"),
        ("smtp://u:%00@h", "NUL"),
        ("smtp://h?rate=fast", "rate= takes 5/s"),
        ("smtp://h?rate=0/s", "rate= takes 5/s"),
        ("smtp://h?connections=0", "connections= takes"),
        ("smtp://h?name=a/b", "name= takes"),
        ("smtp://h?name=a&name=b", "given twice"),
        ("smtp://h?name", "name=value pairs"),
        ("smtp://h?pool=1", "unknown parameter 'pool'"),
        ("smtp://h?ca=/dev/null", "ca= needs TLS"),
        ("smtps://h?ca=/nonexistent.pem", "ca= names a file that does not exist: /nonexistent.pem"),
        ("smtp://a?name=x,smtp://b?name=x", "two relays are called 'x'"),
        ("capture:,capture:", "two relays are called 'capture'"),
    ],
)
def test_relay_urls_that_are_wrong(url, expected):
    """Each mistake has words of its own."""
    assert any(expected in fault for fault in faults(relays=url))


def told_of(relays):
    """All that anybody would read who starts it with these relays, and asks for its settings."""
    try:
        settings = read(relays=relays)
    except ConfigurationError as error:
        return str(error)
    return f"{settings.describe()} {settings.relays}"


@given(
    st.text("abc/:@?#,%&=[] \\ü\0", max_size=8),
    st.sampled_from(
        ["smtp://u:{}@h", "smtp://u:{}@h:99999", "smtp://u:{}@h?x=1", "smtps://:{}@h?rate=1"]
    ),
)
def test_no_fault_repeats_a_password(salt, shape):
    """However a password was written, percent-encoded or not, nobody reads it anywhere."""
    assert SECRET not in told_of(shape.format(f"{SECRET}{salt}{SECRET}"))


def test_describe_strikes_out_secrets():
    """`notifier config` shows the settings in force without passwords."""
    settings = read(
        relays=f"smtps://user:{SECRET}@h?rate=5/s,smtp://u@i",
        relay_password=SECRET,
        journal=f"postgresql://n:{SECRET}@db/notifier",
    )
    shown = dict(settings.describe())
    assert SECRET not in str(shown)
    assert SECRET not in repr(settings.relays)
    assert shown["NOTIFIER_RELAYS"].startswith("smtps://user:***@h:465?name=h&connections=16")
    assert shown["NOTIFIER_JOURNAL"] == "postgresql://n:***@db/notifier"
    assert shown["NOTIFIER_EXPIRE_AFTER"] == "48h"
    assert shown.keys() == {f"NOTIFIER_{field.name.upper()}" for field in FIELDS}


def test_secrets_are_redacted():
    """The provider's body, and parameters of the database that nobody has found harmless."""
    settings = read(
        sms_provider=f"https://u:{SECRET}@api.example/{SECRET}?k={SECRET}",
        sms_provider_body=f'{{"to": "{{to}}", "text": "{{text}}", "token": "{SECRET}"}}',
        sms_provider_headers=f'{{"X-Token": "{SECRET}"}}',
        alert_url=f"https://hooks.example/{SECRET}",
        journal=f"postgresql://n:{SECRET}@{SECRET}@db:5432/notifier"
        f"?sslmode=require&sslpassword={SECRET}&password={SECRET}&p%61ssword={SECRET}&{SECRET}",
    )
    shown = dict(settings.describe())
    assert SECRET not in str(shown)
    assert SECRET not in repr(settings)
    assert "sslmode=require&sslpassword=***" in shown["NOTIFIER_JOURNAL"]
    assert "@db:5432/notifier?" in shown["NOTIFIER_JOURNAL"]


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.8.0.1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "anonymous": "anywhere"}, True),
        ({"host": "mail.example.org"}, False),
        ({"anonymous": "never"}, False),
    ],
)
def test_strangers_are_served_only_where_that_was_said(given, served):
    """Without a key: on loopback, or anywhere if the setting says so. With one: everywhere."""
    settings = read(**given)
    check_access(settings, keys_exist=True)
    if served:
        check_access(settings, keys_exist=False)
    else:
        with pytest.raises(ConfigurationError) as refused:
            check_access(settings, keys_exist=False)
        assert "NOTIFIER_ANONYMOUS" in str(refused.value)
        assert "NOTIFIER_API_KEYS" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("host", "http://x"),
        ("default_from", "nobody"),
        ("default_from", "a@b\nBcc: c@d"),
        ("default_from", "a b@c d"),
        ("journal", "mysql://x"),
        ("public_path", "notifier"),
        ("public_path", "/a b"),
        ("max_body", "0"),
        ("max_body", "15 megabytes"),
        ("workers", "0"),
        ("workers", "1_0"),
        ("retry_schedule", "30s,,1m"),
        ("anonymous", "yes"),
    ],
)
def test_values_that_are_wrong(name, text):
    """Each is refused under its own name."""
    assert faults(**{name: text})[0].startswith(f"NOTIFIER_{name.upper()}: ")


def test_values_that_are_right():
    """Some that are easily refused by mistake."""
    settings = read(default_from="The Shop <shop@example.org>", public_path="/mail/notifier/")
    assert settings.default_from == "The Shop <shop@example.org>"
    assert settings.public_path == "/mail/notifier"


def test_contents_cannot_outlive_their_messages():
    """A body retention longer than the retention is a contradiction; a short one alone is not."""
    assert "NOTIFIER_BODY_RETENTION is longer" in faults(retention="1d", body_retention="2d")[0]
    assert read(retention="1d").retention == 86_400


def settings_table():
    """The rows that the guide must have."""
    return [
        f"| `NOTIFIER_{field.name.upper()}` | {f'`{field.default}`' if field.default else ''} "
        f"| {field.description} |".replace("|  |", "| |")
        for field in FIELDS
    ]


def test_the_guide_has_every_setting():
    """Its table says what the code says: same names, defaults and words."""
    found = [line for line in PAGE.read_text().splitlines() if line.startswith("| `NOTIFIER_")]
    assert found == settings_table(), "\n" + "\n".join(settings_table())


def tables(path, text):
    path.write_text(text)
    return path


def test_relays_are_also_tables_of_the_file(tmp_path):
    """A table has a URL, and the parameters of its query as keys."""
    file = tables(
        tmp_path / "n.toml",
        """
        [[relay]]
        url = "smtp+starttls://user:word@h:2525"
        name = "main"
        rate = "60/min"
        connections = 3

        [[relay]]
        url = "smtp://backup?ehlo_name=a.example"
        """,
    )
    urls = (
        "smtp+starttls://user:word@h:2525?name=main&rate=60/min&connections=3,"
        "smtp://backup?ehlo_name=a.example"
    )
    assert read(file).relays == read(relays=urls).relays
    assert read(file, relays="smtp://other").relays == read(relays="smtp://other").relays


def test_each_fault_of_a_table_names_its_table_and_key(tmp_path):
    """By number, and by name where it has one; nothing of the URL that may be secret."""
    file = tables(
        tmp_path / "n.toml",
        f"""
        [[relay]]
        url = "smtp://user:{SECRET}@h:0"
        rate = "often"

        [[relay]]
        url = "smtp://h"
        name = "main"
        connections = [1, 2]
        rate = "often"
        pool = 3

        [[relay]]
        name = "main"
        ca = true
        """,
    )
    shown = faults(file)
    assert SECRET not in "".join(shown)
    assert list(shown) == [
        f"[[relay]] 1 in {file}: the port must be a number from 1 to 65535",
        f"[[relay]] 2 (main) in {file}: connections must be text or a number",
        f"[[relay]] 2 (main) in {file}: rate= takes 5/s, 60/min, 1000/h or 2000/d",
        *[fault for fault in shown if "unknown parameter 'pool'" in fault],
        f"[[relay]] 3 (main) in {file}: ca must be text or a number",
        f'[[relay]] 3 (main) in {file}: url is missing; write url = "smtp://host"',
    ]
    assert len(shown) == 6


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("relay = 'smtp://h'", "write [[relay]], one table for each relay"),
        ("relay = []", "write [[relay]], one table for each relay"),
        ("relays = 'smtp://h'\n[[relay]]\nurl = 'smtp://h'", "has relays and [[relay]]"),
        ("[[relay]]\nurl = 'capture:'\nname = 'a'", "capture: takes no parameters"),
    ],
)
def test_value_that_is_no_list_of_tables_is_rejected(tmp_path, text, wrong):
    """The error says how relays are written."""
    [fault] = faults(tables(tmp_path / "n.toml", text))
    assert wrong in fault


def test_the_guide_lists_every_parameter():
    """The page of relays says of each what the code says."""
    page = (PAGE.parent / "relays.md").read_text()
    for parameter in PARAMETERS:
        assert f"| `{parameter.name}=` | {parameter.description} |\n" in page


def test_a_return_path_is_an_address_with_at_most_one_star():
    """Its domain is written in ASCII; a wrong domain is reported with all other faults."""
    assert read(return_path="bounces+*@Example.org").return_path == "bounces+*@example.org"
    (spec,) = read(relays="smtp://h?return_path=bounces+*@Example.org").relays
    assert spec.return_path == "bounces+*@example.org"
    (fault,) = faults(relays="smtp://h?return_path=bounces")
    assert "return_path= 'bounces' is not a bare address" in fault
    (fault,) = faults(return_path="Bounces <bounces@example.org>")
    assert fault.startswith("NOTIFIER_RETURN_PATH: ")
    assert "write bounces+*@example.org" in fault
