"""
Which module may know which, and how large it may be. When one of these tests fails, the module
is wrong and not the test. Each test lists every offender.
"""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.paths import PACKAGE, ROOT

# What runs in the caller's process: it knows nothing of the server.
CALLERS = ["client", "testing"]
# From the top: each part may import itself and the layers above its own, never its neighbours.
WORDS = [
    "clock",
    "errors",
    "characters",
    "disk",
    "domains",
    "dates",
    "supervisor",
    "threads",
    "proxies",
    "quotas",
    "scopes",
    "http_client",
    "relayspec",
    "smtp_server",
    "mailboxspec",
    "verp",
    "tokens",
    "breaker",
    "attempts",
    "exchange",
    "findings",
    "recipients",
    "deliveries",
    "screening",
    "later",
    "address_rules",
    "pseudonyms",
    "chains",
    "messages",
    "retries",
    "settling",
]
TOOLS = {
    "settings",
    "keys",
    "templates",
    "sms",
    "oauth",
    "graph",
    "compose",
    "feed",
    "logs",
    "smtp",
    "journal",
    "capture",
    "metrics",
    "tracing",
}
MACHINE = [
    "audit",
    "dispatch",
    "callbacks",
    "housekeeping",
    "reports",
    "preflight",
    "suppressions",
    "intake",
    "sessions",
    "erasure",
    "acts",
    "pauses",
    "alerts",
    "service",
]
EDGES = ["web", "submission_agent", "server", "sendmail", "cli", "__main__"]
# Words, the machine and the edges know one another downwards, in this order.
LAYERS = [*({part} for part in (*CALLERS, *WORDS)), TOOLS, *({part} for part in (*MACHINE, *EDGES))]
# Within `web`, what all calls share stands above the calls, and the API above pages.
WEB = [set(), {"api"}, {"simple", "ui"}, {"app"}]
# The dispatcher moves deliveries; what carries them is handed to it by `dispatch.transports`.
DISPATCHER_KNOWS = {"feed", "journal"}

# The libraries that only one part of the package may know.
OWNERS = {
    "aiosmtplib": {"smtp"},
    "aiosmtpd": {"smtp_server"},
    "sqlite3": {"journal"},
    "asyncpg": {"journal"},
    "litestar": {"web"},
    "uvicorn": {"server"},
    "uvloop": {"server"},
    "click": {"cli"},
    "jinja2": {"templates", "web"},
    "markdown_it": {"web"},
    "email_validator": {"compose", "domains"},
    "turbohtml": {"compose"},
    "phonenumbers": {"sms"},
    "httpx2": {
        "callbacks",
        "client",
        "graph",
        "http_client",
        "oauth",
        "reports",
        "sms",
        "testing",
    },
    "django": {"client"},
    "jwt": {"oauth"},
    "flufl": {"reports"},
    "prometheus_client": {"web"},
    "opentelemetry": {"tracing"},
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"}
# Named as modules of the standard library, they would be read as those.
TAKEN = {"queue", "http", "email", "logging", "types", "typing", "ssl", "signal", "socket"}
LONGEST = 400  # lines: a module that is longer probably holds two concepts
TOP_LEVEL = {
    "notifier",
    "tests",
    "pyproject.toml",
    "Containerfile",
    "compose.yaml",
    "README.md",
}

MODULES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def name_of(path):
    return str(path.relative_to(PACKAGE))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree):
    """The modules that a module imports, and each name that may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path):
    return imported(MODULES[path])


def layer_of(part):
    found = [number for number, parts in enumerate(LAYERS) if part in parts]
    assert found, f"{part} has no layer yet: give it one in {Path(__file__).name}"
    return found[0]


def web_layer_of(module):
    room = module.split(".")[0]
    return next((number for number, rooms in enumerate(WEB) if room in rooms), 0)


def attributes(path):
    return (node for node in ast.walk(MODULES[path]) if isinstance(node, ast.Attribute))


def test_a_module_knows_only_what_is_above_it():
    """A module imports its own part and the layers above, and no neighbour of its own layer."""
    wrong = []
    for path in MODULES:
        part = part_of(path)
        ours = [name.split(".")[1] for name in imports(path) if name.startswith("notifier.")]
        allowed = {"__version__"}
        if part != "__init__":
            allowed |= set().union(*LAYERS[: layer_of(part)]) | {part}
        if part == "dispatch" and path.stem != "transports":
            allowed -= TOOLS - DISPATCHER_KNOWS
        wrong += [f"{name_of(path)} imports {name}" for name in ours if name not in allowed]
    assert wrong == []


def test_rooms_of_web_import_in_one_direction():
    """In `web`: shared modules, then the API, then the simple calls and the pages, then the app."""
    wrong = []
    for path in MODULES:
        if part_of(path) == "web":
            own = web_layer_of(".".join(path.relative_to(PACKAGE / "web").with_suffix("").parts))
            wrong += [
                f"{name_of(path)} imports {name}"
                for name in imports(path)
                if name.startswith("notifier.web.")
                and web_layer_of(name.removeprefix("notifier.web.")) > own
            ]
    assert wrong == []


def test_libraries_have_one_owner():
    """Each outside library is known to one part of the package, so that it can be replaced."""
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        for name in imports(path)
        if part_of(path) not in OWNERS.get(name.split(".")[0], {part_of(path)})
    ]
    assert wrong == []


def test_only_the_command_line_the_process_and_the_client_read_the_environment():
    """Settings are read once and given down. The client has two of its own, and tests set some."""
    names = {"environ", "getenv", "environb"}
    wrong = [
        name_of(path)
        for path in MODULES
        if part_of(path) not in {"cli", "client", "sendmail", "server", "testing"}
        and any(node.attr in names for node in attributes(path))
    ]
    assert wrong == []


def test_only_logs_configures_the_log():
    """Every part may log, and one part says how."""
    wrong = []
    for path in MODULES:
        for node in attributes(path):
            configures = ast.unparse(node) == "structlog.configure" and part_of(path) != "logs"
            if configures or node.attr in {"basicConfig", "dictConfig"}:
                wrong.append(f"{name_of(path)}: {ast.unparse(node)}")
    assert wrong == []


def test_nothing_is_awaited_to_be_logged():
    """`await log.ainfo()` is a hop to another thread, and a place to be cancelled at."""
    asynchronous = {"adebug", "ainfo", "awarning", "aerror", "aexception"}
    wrong = [
        f"{name_of(path)}: log.{node.attr}"
        for path in MODULES
        for node in attributes(path)
        if node.attr in asynchronous and isinstance(node.value, ast.Name) and node.value.id == "log"
    ]
    assert wrong == []


def test_a_module_fits_on_a_few_screens():
    """No module is so long that one cannot hold it in one's head."""
    lines = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lines.items() if length > LONGEST} == {}


def test_a_module_is_named_for_what_it_does():
    """A name that fits everything gathers everything."""
    wrong = [
        name_of(path)
        for path in MODULES
        if {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts} & (VAGUE | TAKEN)
    ]
    assert wrong == []


def test_a_module_says_what_it_is_for():
    """Each module that holds anything begins with its duty."""
    wrong = [
        name_of(path) for path, tree in MODULES.items() if tree.body and not ast.get_docstring(tree)
    ]
    assert wrong == []


def test_a_folder_says_its_duty_and_lists_its_rooms():
    """Each package's docstring names every module and folder in it, and nothing else as one."""
    wrong = []
    for path, tree in MODULES.items():
        if path.name != "__init__.py" or path.parent == PACKAGE:
            continue
        said = ast.get_docstring(tree) or ""
        rooms = {
            each.stem
            for each in path.parent.iterdir()
            if (each.suffix == ".py" and each.stem != "__init__") or (each / "__init__.py").exists()
        }
        wrong += [
            f"{name_of(path)} does not list `{room}`" for room in rooms if f"`{room}`" not in said
        ]
    assert sorted(wrong) == []


def test_the_top_level_is_short():
    """What somebody sees first is what there is: package, tests, and how to build and run it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout here")
    top = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_no_test_module_imports_another():
    """What tests share is a helper, with a name that says what it is."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(ast.parse(path.read_text()))
        if name.startswith("tests.") and ".test_" in name
    ]
    assert wrong == []
