"""
Which module may know which, and how large it may be. When one of these fails, the module
is wrong and not the test.
"""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "notifier"

# From the top: each part may import itself and the layers above its own, never its neighbours.
WORDS = [
    "clock",
    "errors",
    "domains",
    "dates",
    "supervisor",
    "threads",
    "relayspec",
    "histogram",
    "attempts",
    "recipients",
    "deliveries",
    "messages",
    "retries",
    "limits",
]
TOOLS = {
    "settings",
    "keys",
    "templates",
    "sms",
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
    "lanes",
    "recorder",
    "dispatch",
    "upkeep",
    "replicas",
    "history",
    "fittings",
    "admission",
    "desk",
    "sessions",
    "health",
    "alerts",
    "routes",
    "service",
]
EDGES = ["web", "cli", "__main__"]
# Words, the machine and the edges know one another downwards, in this order.
LAYERS = [*({word} for word in WORDS), TOOLS, *({part} for part in (*MACHINE, *EDGES))]
# The machine uses tools only where they are put together, but for those that it is about.
KNOWN_TO_DISPATCH = {"feed", "journal"}

# The libraries that only one part of the package may know.
OWNERS = {
    "aiosmtpd": {"capture"},
    "aiosmtplib": {"smtp"},
    "sqlite3": {"journal"},
    "asyncpg": {"journal"},
    "litestar": {"web"},
    "uvicorn": {"cli"},
    "uvloop": {"cli"},
    "click": {"cli"},
    "jinja2": {"templates", "web"},
    "markdown_it": {"web"},
    "email_validator": {"compose", "domains"},
    "turbohtml": {"compose"},
    "phonenumbers": {"sms"},
    "httpx2": {"sms"},
    "prometheus_client": {"web"},
    "opentelemetry": {"tracing"},
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"}
# Named as modules of the standard library, they would be read as those.
TAKEN = {"queue", "http", "email", "logging", "types", "typing", "ssl", "signal", "socket"}
LONGEST = 400  # lines
TOP_LEVEL = {
    "notifier",
    "tests",
    "pyproject.toml",
    "Containerfile",
    "compose.yaml",
    "README.md",
}

MODULES = sorted(PACKAGE.rglob("*.py"))
each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path):
    return ast.parse(path.read_text())


def imports(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            yield node.module
            if node.module == "notifier":
                yield from (f"notifier.{alias.name}" for alias in node.names)


def layer_of(part):
    found = [number for number, parts in enumerate(LAYERS) if part in parts]
    assert found, f"{part} has no layer yet: give it one in {Path(__file__).name}"
    return found[0]


@each_module
def test_knows_only_what_is_above_it(path):
    """A module imports its own part and the layers above, and no neighbour of its own layer."""
    part = part_of(path)
    if part == "__init__":
        assert not [name for name in imports(path) if name.startswith("notifier")]
        return
    allowed = set().union(*LAYERS[: layer_of(part)]) | {part, "__version__"}
    if part in {"lanes", "recorder", "dispatch"}:
        allowed -= TOOLS - KNOWN_TO_DISPATCH
    for name in imports(path):
        if name.startswith("notifier."):
            assert name.split(".")[1] in allowed, f"{path.name} imports {name}"


@each_module
def test_libraries_have_one_owner(path):
    """Each outside library is known to one part of the package, so that it can be replaced."""
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or part_of(path) in owners, f"{path.name} imports {name}"


@each_module
def test_only_the_command_line_reads_the_environment(path):
    """Settings are read once and given down."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
            assert part_of(path) == "cli", f"{path.name} reads the environment"


@each_module
def test_only_logs_configures_the_log(path):
    """Everybody may log, and one part says how."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"basicConfig", "dictConfig"}:
            pytest.fail(f"{path.name} configures logging")
        if ast.unparse(node) == "structlog.configure":
            assert part_of(path) == "logs", f"{path.name} configures structlog"


@each_module
def test_nothing_is_awaited_to_be_logged(path):
    """`await log.ainfo()` is a hop to another thread, and a place to be cancelled at."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            asynchronous = node.attr in {"adebug", "ainfo", "awarning", "aerror", "aexception"}
            assert not (asynchronous and node.value.id == "log"), f"{path.name}: {node.attr}"


@each_module
def test_fits_on_a_few_screens(path):
    """No module is so long that one cannot hold it in one's head."""
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{path.name} has {lines} lines"


@each_module
def test_is_named_for_what_it_does(path):
    """A name that fits everything gathers everything."""
    words = {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}
    assert not words & (VAGUE | TAKEN), f"{path.name}: find a name that says what it is for"


@each_module
def test_says_what_it_is_for(path):
    """Each module that holds anything begins with its duty."""
    tree = tree_of(path)
    assert not tree.body or ast.get_docstring(tree), f"{path.name} has no docstring"


def test_the_top_level_is_short():
    """What somebody sees first is what there is: package, tests, and how to build and run it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout here")
    top = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
