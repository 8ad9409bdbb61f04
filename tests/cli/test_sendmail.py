"""`notifier sendmail`, as cron and PHP start it."""

import asyncio
import socket
import subprocess
import sys

import pytest

from notifier.sendmail import Call, Exit, Local, hand_in, main, prepared, read_call
from notifier.service import Notifier
from notifier.settings import Settings
from tests.paths import ROOT
from tests.process import environment, free_port
from tests.submission_agent.conftest import made_key
from tests.web_client import listening

MAIL = b"From: Us <us@example.org>\nTo: ann@example.org\nSubject: Hi\n\nHello.\n"


def call(*arguments):
    return read_call(arguments)


@pytest.fixture
def local(tmp_path):
    """A machine whose root and staff have aliases, and whose mail domain is example.org."""
    (tmp_path / "aliases").write_text(
        "# who reads it\npostmaster: root\nroot: ops@example.org,\n  bob\nbob: \\bob\n"
        'bin: /dev/null\nloop: loop, "|program"\n'
    )
    (tmp_path / "mailname").write_text("example.org\n")
    return Local(tmp_path / "aliases", tmp_path / "mailname")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-t", "-i"], Call([], True, "", "", False, False)),
        (["-oi", "-oem", "-odb", "a@x.org"], Call(["a@x.org"], False, "", "", False, False)),
        # As Debian's cron and PHP do.
        (
            ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
            Call(["root"], False, "", "CronDaemon", False, False),
        ),
        (["-t", "-i", "-f", "<b@x.org>"], Call([], True, "b@x.org", "", False, False)),
        (["-bm", "-v", "a@x.org,b@x.org"], Call(["a@x.org", "b@x.org"], False, "", "", True, True)),
        (["a@x.org", "--", "-f"], Call(["a@x.org", "-f"], False, "", "", True, False)),
    ],
)
def test_options_are_those_of_sendmail(arguments, expected):
    """Those that say nothing of the mail are taken and ignored."""
    assert call(*arguments) == expected


@pytest.mark.parametrize(
    "arguments", [[], ["-bs"], ["-bp"], ["-q", "1m"], ["-Z", "a@x.org"], ["-f"]]
)
def test_input_without_a_mail_is_a_usage_error(arguments):
    """64 is EX_USAGE."""
    with pytest.raises(Exit) as raised:
        call(*arguments)
    assert raised.value.code == 64


def test_a_mail_gets_whole_lines(local):
    """LF, bare CR and NUL are made fit, and long lines are broken, not within a character."""
    given = MAIL + b"50%\r100%\n" + "ü".encode() * 1000 + b"\0\nend"
    mail, recipients = prepared(call("-t", "-i"), given, local)
    assert recipients == ["ann@example.org"]
    assert mail.startswith(MAIL.replace(b"\n", b"\r\n") + b"50%\r\n100%\r\n")
    assert mail.endswith(b"\r\nend\r\n")
    assert max(map(len, mail.split(b"\r\n"))) <= 998
    assert mail.replace(b"\r\n ", b"").decode().count("ü") == 1000


def test_a_dot_ends_the_mail_without_the_option_i(local):
    """-i, or -oi: it is a line like others."""
    given = MAIL + b".\nmore\n"
    ended, _ = prepared(call("-t"), given, local)
    whole, _ = prepared(call("-t", "-oi"), given, local)
    assert ended == MAIL.replace(b"\n", b"\r\n")
    assert whole.endswith(b"\r\n.\r\nmore\r\n")


def test_names_without_a_domain_are_led_on(local):
    """By the aliases of the machine, then by its mail domain."""
    given = MAIL.replace(b"ann@example.org", b"postmaster, dan, bin")
    _, recipients = prepared(call("-t", "-i", "loop"), given, local)
    assert recipients == [
        "loop@example.org",
        "ops@example.org",
        "bob@example.org",
        "dan@example.org",
        "bin@example.org",
    ]


def test_a_name_that_leads_nowhere_is_no_user(tmp_path, monkeypatch):
    """67 is EX_NOUSER."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "box")
    nowhere = Local(tmp_path / "none", tmp_path / "none")
    with pytest.raises(Exit) as raised:
        prepared(call("root"), MAIL, nowhere)
    assert raised.value.code == 67


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["-f", "a@example.org"], b"From: Cron Daemon <a@example.org>"),
        (["-f", "a@example.org", "-F", "Jobs"], b"From: Jobs <a@example.org>"),
        (["-f", "root"], b"To: ann@example.org"),  # the server has a default sender
    ],
)
def test_an_author_without_a_domain_gives_way(local, arguments, first):
    """Cron writes `root (Cron Daemon)`, which no relay would take."""
    given = MAIL.replace(b"Us <us@example.org>", b"root (Cron Daemon)")
    mail, _ = prepared(call("-t", "-i", *arguments), given, local)
    assert mail.split(b"\r\n")[0] == first


def test_text_without_a_header_is_a_body(local):
    """As in `echo hello | sendmail ann@example.org`."""
    mail, _ = prepared(call("ann@example.org"), b"hello\n", local)
    assert mail == b"\r\nhello\r\n"


async def run(mail, *arguments, **variables):
    """The exit code and what the program said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", "sendmail", *arguments,
        env=environment(**variables), cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await process.communicate(mail)
    return process.returncode, out.decode().strip(), said.decode()


async def test_a_mail_is_handed_in(tmp_path):
    """With -v the id of the message is printed; the sender is that of -f."""
    settings = Settings(data_dir=str(tmp_path))
    async with Notifier(settings) as service, listening(service) as port:
        url = f"http://127.0.0.1:{port}"
        code, id, said = await run(MAIL, "-t", "-i", "-v", "-f", "back@example.org", url=url)
        assert (code, said) == (0, "")
        delivery = await service.message(id)
    assert (delivery.sender, delivery.recipients[0].address) == (
        "back@example.org",
        "ann@example.org",
    )


async def test_refusals_are_exit_codes(tmp_path, monkeypatch):
    """Those of sysexits.h, by what the server answers."""
    key, secret = made_key(senders=("us@example.org",))
    (tmp_path / "key").write_text(secret)
    settings = Settings(data_dir=str(tmp_path), max_body=100_000)
    async with Notifier(settings) as service:
        service.keys.add(key)
        async with listening(service) as port:
            monkeypatch.setenv("NOTIFIER_URL", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("NOTIFIER_KEY", f"@{tmp_path / 'key'}")
            wanted = call("-i", "ann@example.org")

            def code_of(mail, to="ann@example.org"):
                try:
                    hand_in(wanted, mail, [to])
                except Exit as error:
                    return error.code
                return 0

            mail = MAIL.replace(b"\n", b"\r\n")
            codes = await asyncio.gather(
                asyncio.to_thread(code_of, mail),
                asyncio.to_thread(code_of, mail, "no address"),
                asyncio.to_thread(code_of, mail.replace(b"us@", b"other@")),
                asyncio.to_thread(code_of, mail + b"x" * 100_000),
                asyncio.to_thread(code_of, b"no field\r\n" + mail),
            )
            assert codes == [0, 67, 77, 65, 65]
            monkeypatch.setenv("NOTIFIER_KEY", "ntf_wrong")
            assert await asyncio.to_thread(code_of, mail) == 77


def test_a_server_that_is_away_is_tried_again_and_then_temporary(monkeypatch):
    """75 is EX_TEMPFAIL."""
    monkeypatch.setenv("NOTIFIER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("notifier.sendmail.PAUSES", (0.0, 0.0))
    with pytest.raises(Exit) as raised:
        hand_in(call("a@x.org"), b"\r\n", ["a@x.org"])
    assert raised.value.code == 75


@pytest.mark.parametrize(("status", "code"), [(502, 75), (503, 75), (504, 75), (404, 69)])
async def test_a_proxy_answers_while_the_server_is_away(monkeypatch, status, code):
    """It says so in words of its own: the mail is tried again, unless something else is wrong."""
    asked = []

    async def answer(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d Away\r\nContent-Length: 6\r\n\r\n<html>" % status)
        writer.close()

    monkeypatch.setattr("notifier.sendmail.PAUSES", (0.0, 0.0))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("NOTIFIER_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(Exit) as raised:
            await asyncio.to_thread(hand_in, call("a@x.org"), b"\r\n", ["a@x.org"])
    assert raised.value.code == code
    assert len(asked) == (3 if code == 75 else 1)


async def test_each_try_has_the_same_idempotency_key(monkeypatch):
    """A server that took the mail and could not say so makes no second message of it."""
    keys = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        keys.append(head.partition("idempotency-key: ")[2].partition("\r\n")[0])
        if len(keys) > 1:
            writer.write(b'HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{"id":"1"}')
        writer.close()

    monkeypatch.setattr("notifier.sendmail.PAUSES", (0.0, 0.0))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("NOTIFIER_URL", f"http://127.0.0.1:{port}")
        wanted = call("a@x.org")
        assert await asyncio.to_thread(hand_in, wanted, b"\r\n", ["a@x.org"]) == "1"
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


@pytest.mark.parametrize(
    ("variable", "value"), [("NOTIFIER_URL", "ftp://x"), ("NOTIFIER_KEY", "@/nowhere")]
)
def test_a_wrong_variable_is_a_fault_of_configuration(monkeypatch, variable, value):
    """78 is EX_CONFIG."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(Exit) as raised:
        hand_in(call("a@x.org"), b"\r\n", ["a@x.org"])
    assert raised.value.code == 78


def test_it_loads_the_standard_library_alone():
    """Cron starts it for each mail, so it must not load the server."""
    program = "import sys, notifier.sendmail; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    foreign = {"click", "msgspec", "structlog", "litestar", "asyncio"}
    assert foreign & {name.partition(".")[0] for name in loaded} == set()
    assert [name for name in loaded if name.startswith("notifier.")] == ["notifier.sendmail"]


def test_it_says_what_is_wrong(capsys):
    """On standard error, by one line."""
    assert main([]) == 64
    assert capsys.readouterr().err == (
        "sendmail: name recipients, or give -t to read them from the header\n"
    )
