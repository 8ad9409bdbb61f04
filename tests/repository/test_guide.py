"""The guide: every page is served, every link leads somewhere, and it says what the code says."""

import ast
import re
from html import unescape

import pytest

import notifier
from notifier.web.ui.guide import FOLDER, ORDER
from tests.paths import ROOT
from tests.web_client import serving

FILES = sorted(FOLDER.glob("*.md"))
TESTS = ROOT / "tests"
LONGEST_README = 150  # lines


@pytest.fixture
async def client(tmp_path):
    async with serving(tmp_path) as (_, client):
        yield client


def links(path):
    """The targets of a Markdown file's links, without examples in code."""
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def test_every_file_is_a_page():
    """A page that the order forgets could not be found."""
    assert {path.stem for path in FILES} == set(ORDER)


async def test_the_contents_lead_to_every_page(client):
    """Each page has a title, and the table of contents links to it."""
    contents = (await client.get("/guide")).text
    for name in ORDER:
        answer = await client.get(f"/guide/{name}")
        assert answer.status_code == 200
        [title] = re.findall(r"<h1 [^>]*>(.*?)</h1>", answer.text)
        assert f'<a href="/guide/{name}">{title}</a>' in contents


async def test_every_section_of_a_page_can_be_linked_to(client):
    """Its contents name each second-rank heading, and each has the anchor."""
    text = (await client.get("/guide/operating")).text
    anchors = re.findall(r'<li><a href="#([^"]+)">', text)
    assert len(anchors) == len(
        re.findall(r"^## ", (FOLDER / "operating.md").read_text(), re.MULTILINE)
    )
    assert all(f'<h2 id="{anchor}">' in text for anchor in anchors)


async def test_links_between_pages_lead_to_the_served_pages(client):
    """A link to a file on a code host is a link to a page here."""
    for name in ORDER:
        text = (await client.get(f"/guide/{name}")).text
        article = text.partition("<article")[2]
        for link in map(unescape, re.findall(r'href="(/[^"#]*)', article)):
            assert (await client.get(link)).status_code == 200, f"{name}: {link}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *FILES], ids=lambda path: path.name)
def test_links_lead_somewhere_on_a_code_host(path):
    """A relative link is a file of the repository."""
    for link in links(path):
        if not link.startswith(("http", "/", "#")):
            assert (path.parent / link.partition("#")[0]).is_file(), link


async def test_an_unknown_page_is_not_found_and_the_others_are_named(client):
    """The error says which pages there are."""
    answer = await client.get("/guide/nowhere")
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["detail"]
    assert all(name in answer.json()["detail"] for name in ORDER)


async def test_examples_call_the_service_as_the_reader_does(client):
    """Under the name and scheme of the page that shows them."""
    text = (await client.get("/guide/api", headers={"Host": "localhost"})).text
    assert "U=http://localhost;" in text
    assert "127.0.0.1:8014" not in text


def test_the_readme_is_short():
    """It is the product's face: one page."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


def test_the_changelog_has_this_version():
    """The version that `--version`, `/health` and OpenAPI show has its entry."""
    assert f"\n## {notifier.__version__}\n" in (FOLDER / "changelog.md").read_text()


def named_tests(path, within="", body=None):
    """The tests of a module as pytest names them."""
    for node in ast.parse(path.read_text()).body if body is None else body:
        if isinstance(node, ast.ClassDef):
            yield from named_tests(path, f"{node.name}::", node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{path.relative_to(TESTS)}::{within}{node.name}", ast.get_docstring(node) or ""


def test_the_fault_matrix_names_the_tests_of_each_row():
    """Row by row, the tests whose name or docstring carries its number, and no others."""
    named = {f"F{number:02}": set() for number in range(1, 59)}
    for path in TESTS.rglob("test_*.py"):
        for test, said in named_tests(path):
            for row in re.findall(r"\bF\d\d\b", f"{test} {said}".upper().replace("_", " ")):
                named[row].add(test)
    rows = re.findall(
        r"^\| (F\d\d) \|.*\| ([^|]*) \|$", (FOLDER / "fault-matrix.md").read_text(), re.MULTILINE
    )
    assert {row: set(re.findall(r"`([^`]+)`", tests)) for row, tests in rows} == named
    assert all(named.values())
