"""The text that is made of HTML, as a person reads it."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.compose.plaintext import HTML_CHARACTERS, TEXT_CHARACTERS, text_of
from notifier.compose.plaintext.lines import MOST_PREFIXES

MAILS = sorted(Path(__file__).with_name("mails").glob("*.html"))


def text(html):
    made, warnings = text_of(html)
    assert warnings == ()
    return made.removesuffix("\n")


def test_the_samples_exist():
    """Twenty layouts, of the kinds that services send."""
    assert len(MAILS) >= 20


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_a_mail_reads_as_it_should(path):
    """The text of a real layout is what a person was content with."""
    assert text_of(path.read_text())[0] == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        # Blocks and lines
        ("a<p>b<p>c", "a\n\nb\n\nc"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("a<br><br><br><br>b", "a\n\nb"),
        ("<div>a</div><div><br></div><div>b</div>", "a\n\nb"),
        ("<p>a<br></p><p>b</p>", "a\n\nb"),
        ("<center>a</center>b<form>c</form>d<fieldset>e</fieldset>f", "a\nb\nc\nd\ne\nf"),
        ("<hgroup><h1>a</h1><p>b</p></hgroup>c", "a\n\nb\n\nc"),
        ("a<hr>b", f"a\n\n{'-' * 40}\n\nb"),
        ("<h1>a</h1><h2>b</h2>c", "a\n\nb\n\nc"),
        ("  a \n b\t<b> c</b> <i>d </i>e", "a b c d e"),
        ("a<span style='display:block'>b</span>c", "a\nb\nc"),
        ("a&nbsp;b&amp;&lt;&eacute;&#128034;", "a b&<é🐢"),
        ("<pre>a\n  b\n\n\n  c</pre>d", "a\n  b\n\n\n  c\n\nd"),
        ("a<pre>\n\n\n b</pre>", "a\n\n b"),
        ("<pre>a\n\n\n</pre>b", "a\n\nb"),
        ("<a href=https://x.test>a</a>b", "a [1] b\n\n[1] https://x.test"),
        ("<p style='white-space: pre-line'>a\n   b</p>", "a\nb"),
        ("<p style='white-space: pre-wrap'>a\n   b</p>", "a\n   b"),
        ("<del>1</del> 2 <q>x</q>", '~~1~~ 2 "x"'),
        # Lists and quotes
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>e", "* a\n* b\n  * c\n* d\n\ne"),
        ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
        ("<ol start=9><li>a<li>b<br>c</ol>", "9. a\n10. b\n    c"),
        ("<ol><li>a<li value=7>b<li>c</ol>", "1. a\n7. b\n8. c"),
        ("<ol reversed><li>a<li>b</ol>", "2. a\n1. b"),
        ("<ol type=A start=26><li>a<li>b</ol>", "Z. a\nAA. b"),
        ("<ol type=i start=4><li>a</ol>", "iv. a"),
        ("<ol start=-1><li>a<li>b</ol>", "-1. a\n0. b"),
        ("<ul><li></li><li>b</ul>", "* b"),
        ("<ul><li><p>a<p>b<li>c</ul>", "* a\n\n  b\n\n* c"),
        ("<dl><dt>a<dd>b<dd>c</dl>", "a\n  b\n  c"),
        ("<blockquote>a<p>b</blockquote>c", "> a\n>\n> b\n\nc"),
        ("<blockquote><ul><li>a<li>b</ul></blockquote>", "> * a\n> * b"),
        ("<ul><li style='display:inline'>a<li style='display:inline'>b</ul>", "a b"),
        # Links
        ("<a href='https://x.test/a'>this</a>.", "this [1].\n\n[1] https://x.test/a"),
        ("<a href='https://x.test/a?b=1&amp;c=2'>https://x.test/a?b=1&amp;c=2</a>",
         "https://x.test/a?b=1&c=2"),
        ("<a href='https://X.test/'>x.test</a>", "x.test"),
        ("<a href='https://x.test/Ab'>HTTPS://X.test/Ab</a>", "HTTPS://X.test/Ab"),
        ("<a href='https://x.test/Ab'>https://x.test/ab</a>",
         "https://x.test/ab [1]\n\n[1] https://x.test/Ab"),
        ("<a href='https://x.test/a?t=1'>https://x.test/a</a>",
         "https://x.test/a [1]\n\n[1] https://x.test/a?t=1"),
        ("<a href='mailto:a@x.test?subject=s'>a@x.test</a>", "a@x.test"),
        ("<a href='mailto:a@x.test'>us</a>", "us [1]\n\n[1] a@x.test"),
        ("<a href='tel:+49401'>+49 (40) 1</a>", "+49 (40) 1"),
        ("<a href='#x'>a</a> <a href='javascript:f()'>b</a> <a href=''>c</a> <a>d</a>", "a b c d"),
        ("<a href='JavaScript:f()'>a</a> <a href=' data:text/html,x'>b</a>", "a b"),
        ("<a href='https://t.test/1'>https://x.test</a>",
         "https://x.test [1]\n\n[1] https://t.test/1"),
        ("<a href=https://x.test/>a</a><a href=https://x.test/>b</a>",
         "a [1] b [1]\n\n[1] https://x.test/"),
        ("<a href=https://x.test>x.test</a><a href=https://y.test>y.test</a>", "x.test y.test"),
        ("<a href='https://x.test/a b'>a</a>", "a [1]\n\n[1] https://x.test/a%20b"),
        ("<a href='https://x.test/\n a'>a</a>", "a [1]\n\n[1] https://x.test/%20a"),
        ("<a href=https://x.test><p>a</p></a>b", "a [1]\n\nb\n\n[1] https://x.test"),
        ("<a href=https://x.test/><img src=i alt=Logo></a>", "Logo [1]\n\n[1] https://x.test/"),
        ("a <a href=https://x.test/s><img src=i></a>", "a https://x.test/s"),
        ("a <a href=https://x.test/s><img src=i alt=''></a>", "a"),
        # What is hidden, and what only seems to be
        ("<div style='display:none'>x</div>a", "a"),
        ("<div style='DISPLAY : None !important;'>x</div>a", "a"),
        ("<div hidden>x</div><p style='visibility:hidden'>x</p>a", "a"),
        ("<div style='max-height:0;overflow:hidden'>x</div>a", "a"),
        ("<div style='opacity:0.0'>x</div>a", "a"),
        ("<div style='max-height:0'>a</div>", "a"),
        ("<span style='font-size:0px'>x</span><span style='font-size:1px'>y</span>a", "a"),
        ("<div style='font-size:0'><p style='font-size:13px'>a</p></div>", "a"),
        ("<div style='font-size:0'><p style='font:bold 12px/1 Arial'>a</p></div>", "a"),
        ("<div style='font:0/0 a'>x</div>a", "a"),
        ("<p style='font-size:0.9em;line-height:0;opacity:0.5'>a</p>", "a"),
        ("<a href=https://x.test style='mso-hide:all'>a</a>", "a [1]\n\n[1] https://x.test"),
        ("<style>.p{display:none} @media print{.q{display:none}}</style>"
         "<p class='o p'>x<p class=q>a", "a"),
        ("<style>/* .q{display:none} */ p.x, #y {display:none}</style>"
         "<p class=x>x<div class=x>a</div><div id=y>y</div><p class=q>b", "a\n\nb"),
        ("<style media=print>.p{display:none}</style><p class=p>a", "a"),
        ("<style><!-- .p{display:none} --></style><p class=p>x</p>a", "a"),
        ("<style>.p{display:none} .p{display:block}</style><p class=p>a", "a"),
        ("<style>.p{display:none}</style><p class=p style='display:block'>a", "a"),
        ("<style>.a .p, .p:hover, .p>b {display:none}</style><p class=p>a", "a"),
        ("<!--[if mso]>x<![endif]-->a<![if !mso]>b<![endif]>", "ab"),
        ("&#847;&zwnj;&nbsp;&#8199;&shy;&#65279;&zwnj; a", "a"),
        ("<script>x</script><style>y</style><title>z</title><template>t</template>a", "a"),
        ("Donau&shy;dampf \u0645\u06cc\u200c\u062e &#128104;&zwj;&#128105;",
         "Donaudampf \u0645\u06cc\u200c\u062e \U0001f468\u200d\U0001f469"),
        # Tables
        ("<table><tr><td>a<td>b<tr><td>ccc<td>d</table>", "a    b\nccc  d"),
        ("<table><tr><td>a<td align=right>1<tr><td>b<td align=right>100</table>",
         "a    1\nb  100"),
        ("<table><caption>T</caption><tr><th>a<th>b</table>", "T\n\na  b"),
        ("<table><tr><th>a<th>b<th>c<tr><td colspan=2>Total<td>9</table>", "a  b   c\nTotal  9"),
        ("<table><tr><th>aaaa<th>bbbb<th>c<tr><td colspan=2>Total<td>9</table>",
         "aaaa  bbbb  c\nTotal       9"),
        ("<table><tr><td rowspan=2>a<td>b<tr><td>c</table>", "a  b\n   c"),
        ("<table><tr><td><h1>Hi</h1><p>One.<p>Two.<ul><li>a<li>b</ul></table>",
         "Hi\n\nOne.\n\nTwo.\n\n* a\n* b"),
        ("<table><tr><td>a<br>b<tr><td><pre>c\n d</pre></table>", "a\nb\n\nc\n d"),
        ("<table><tr><td>a<tr><td>b</table>", "a\n\nb"),
        ("<table><tr><td><p>One.<p>Two.<td>x</table>", "One.\n\nTwo.\n\nx"),
        ("<table><tr><td><table><tr><td>a<td>b</table><td>c</table>", "a  b\n\nc"),
        ("<table><tr><td>Shirt<br>Size M<td>9<tr><td>Hat<td>10</table>",
         "Shirt   9\nSize M\nHat     10"),
        ("<table><tr><td>&nbsp;<td>a<td><td>b</table>", "a  b"),
        ("<table><tr><td>" + "prose " * 12 + "<td>" + "more " * 12 + "</table>",
         "prose " * 11 + "prose\n\n" + "more " * 11 + "more"),
        ("x<table><tr><td>a</table>y", "x\n\na\n\ny"),
        ("<table><tr><td>a<td>b<tr><td colspan=2>c<tr><td>d<td>e<tr><td colspan=2>f</table>",
         "a  b\nc\nd  e\n\nf"),
        (f"<table><tr><td>{'a' * 40}<td>b<td>c<tr><td>d<td>{'e' * 50}<td>f</table>",
         f"{'a' * 40}  b  c\nd  {'e' * 50}  f"),
        ("<table><tr><td>1<td>" + "a long step " * 12 + "</table>",
         "1  " + "a long step " * 11 + "a long step"),
        ("<table><tr><td><a href=https://x.test/1>a</a><td><p>b<p>c</table>",
         "a [1]\n\nb\n\nc\n\n[1] https://x.test/1"),
        # Numbers
        ("10<sup>2</sup> x<sup>-1</sup> 1<sup>st</sup> Y<sup>&reg;</sup>", "10² x⁻¹ 1st Y®"),
        ("H<sub>2</sub>O 2<sup>2x</sup> a<sub>i</sub>", "H₂O 2^2x ai"),
    ],
)  # fmt: skip
def test_each_html_element_becomes_text(html, expected):
    """Each element is read as what it means, and nothing that is not shown is read."""
    assert text(html) == expected


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "x",
        "<b><p>" * 80_000 + "x",
        "<table><tr><td>" * 30_000 + "x",
        "<table><tr>" + "<td>x" * 100_000,
        "<table>" + "<tr><td>x<td>y" * 30_000,
        "<table><tr>" + "<td>x" * 1000 + "<tr><td>y" * 50_000,
        "<table>" + "<tr><td rowspan=60000>x" * 18 + "<tr><td>y" * 40_000,
        "<table>" + "<tr><td colspan=1000>x<td>y" * 15_000,
        "<table><tr><td>" + "<a href=x><table><tr><td>" * 15_000 + "y",
        "<ul><li>x" * 50_000,
        "<blockquote>x" * 40_000,
        "<a href=x>y</a>" * 30_000,
        "<sup>" * 80_000 + "x",
        "<ol reversed>" * 30_000,
        "<p " + "a=1 " * 120_000,
        "<p style='display:" + ";" * 500_000 + "'>x",
        "<style>" + "/*" * 200_000,
        "<style>" + ".a{display:none}" * 16_000 + "</style><p class='" + "b " * 100_000 + "'>x",
        "<" * 500_000,
        "&" * 500_000,
        "<!--" * 120_000,
        "<pre>" + "\n" * 500_000 + "x",
        "\u200d" * 400_000,
        "<img src='data:image/png;base64," + "A" * 1_000_000 + "'>x",
        "data:image/" * 100_000,
    ],
    ids=lambda html: html[:20],
)
def test_no_html_takes_long(html):
    """However deep or large an HTML is, its text is made in time that follows from its size."""
    start = time.process_time()
    made, _ = text_of(html)
    assert time.process_time() - start < 5  # well below one second on any machine
    assert len(made) <= min(TEXT_CHARACTERS, 10 * len(html)) + 1000


def test_the_indentation_of_quotes_is_bounded():
    """Indentation of quotes is bounded, so the text does not grow with the square of its HTML."""
    lines = text("<blockquote>x" * 1000).splitlines()
    assert max(map(len, lines)) == 2 * MOST_PREFIXES + 1


def test_a_text_ends_where_there_is_no_more_room():
    """The bound holds while the text is written, and the caller learns of the cut."""
    html = "<ul><li>" * 9 + "x<br>" * (HTML_CHARACTERS // 5 - 20)
    made, warnings = text_of(html)
    assert warnings == (f"the text was cut after {TEXT_CHARACTERS} characters",)
    assert len(made) <= TEXT_CHARACTERS + 100


def test_pictures_in_the_html_take_no_room():
    """What follows a large picture that stands in the HTML itself is read."""
    picture = f"<img src='data:image/png;base64,{'A' * 2 * HTML_CHARACTERS}' alt=Logo>"
    assert text(f"<p>a{picture}<p>b") == "aLogo\n\nb"


MARKUP = (
    "<p> </p> <b> </b> <table> <tr> <td> <td/colspan=3> <td/rowspan=2> <th> </td> </tr> </table>"
    " <caption> <ul> <ol/start=3> <li> </ul> <pre> </pre> <a/href='https://x.test/'> </a> <br> <hr>"
    " <blockquote> </blockquote> <img/alt=x> <div/style='display:none'> </div> <sup> </sup> <q>"
    " <dl> <dt> <dd> <center> <p/style='white-space:pre'> <select> <svg> <template> <h1> </h1>"
    " &nbsp; &zwnj; 2 x \n"
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.sampled_from(MARKUP.split(" ")), max_size=80).map("".join))
def test_any_html_has_a_text(html):
    """Lines do not end in spaces, and two blank ones stand only in what was set so."""
    made = text(html)
    assert made == made.rstrip("\n")
    lines = made.split("\n")
    assert all(line == line.rstrip() for line in lines)
    if "<pre>" not in html and "white-space" not in html:
        assert "\n\n\n" not in made
    assert len(made) <= 10 * len(html) + 100
