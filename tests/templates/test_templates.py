"""The operator's templates: filled in strictly, held in, reloaded, complained of by name."""

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.errors import ConfigurationError, InvalidMessage
from notifier.templates import Filled, Templates
from notifier.templates.rendering import LONGEST
from tests.clocks import Clock

# The first text that hypothesis makes takes it seconds, on a loaded machine.
unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def put(folder, **files):
    """Write files; `welcome_txt` is welcome.txt, `welcome_subject_txt` is welcome.subject.txt."""
    for name, text in files.items():
        stem = name.replace("_subject_txt", ".subject.txt")
        for ending in ("txt", "html"):
            stem = stem.replace(f"_{ending}", f".{ending}") if "." not in stem else stem
        (folder / stem).write_text(text)


def text_of(folder, source, **data):
    put(folder, t_txt=source)
    return Templates(folder).fill("t", data).text


def faults(call, *args, **kwargs):
    with pytest.raises(InvalidMessage) as caught:
        call(*args, **kwargs)
    return list(caught.value.faults)


def refusal(folder, source, /, **data):
    (fault,) = faults(text_of, folder, source, **data)
    assert fault.pointer == "/template"
    return fault.message


def broken(folder):
    with pytest.raises(ConfigurationError) as caught:
        Templates(folder)
    return caught.value.faults


# Filling in


def test_the_parts_of_a_template_are_its_files(folder):
    """Subject, text and HTML come from the files of the name; a part without a file is None."""
    put(
        folder,
        welcome_subject_txt="Hello {{ name }}\n",
        welcome_txt="Dear {{ name }},\n\nwelcome.\n",
        welcome_html="<p>Dear {{ name }}</p>",
        code_txt="{{ code }}",
    )
    templates = Templates(folder)
    assert templates.fill("welcome", {"name": "Ann"}) == Filled(
        "Hello Ann", "Dear Ann,\n\nwelcome.", "<p>Dear Ann</p>"
    )
    assert templates.fill("code", {"code": 123}) == Filled(None, "123", None)


def test_html_is_escaped_and_text_is_not(folder):
    """What callers give cannot become markup; in text it stands as it is."""
    put(folder, t_subject_txt="{{ a }}", t_txt="{{ a }}", t_html="<b title='{{ a }}'>{{ a }}</b>")
    filled = Templates(folder).fill("t", {"a": "<i>&'\""})
    assert filled.subject == filled.text == "<i>&'\""
    assert filled.html == "<b title='&lt;i&gt;&amp;&#39;&#34;'>&lt;i&gt;&amp;&#39;&#34;</b>"


def test_layouts_and_shared_pieces(folder):
    """A file may extend, include and import files of the folder, with a name of their own or _."""
    put(
        folder,
        _layout_html="<body>{% block main %}{% endblock %}{% include '_foot.html' %}</body>",
        _foot_html="<hr>{{ company }}",
        _macros_html="{% macro button(url) %}<a href='{{ url }}'>{{ caller() }}</a>{% endmacro %}",
        t_html="{% extends '_layout.html' %}{% from '_macros.html' import button %}"
        "{% block main %}{{ super() }}{% call button(url) %}{{ word }}{% endcall %}{% endblock %}",
    )
    templates = Templates(folder)
    filled = templates.fill("t", {"company": "A&B", "url": "x'", "word": "<go>"})
    assert filled.html == "<body><a href='x&#39;'>&lt;go&gt;</a><hr>A&amp;B</body>"
    (listed,) = templates.all()
    assert listed.name == "t"
    assert listed.parts == ("html",)
    assert set(listed.variables) >= {"company", "url", "word"}


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("{% for i in order.items %}\n{{ loop.index }}. {{ i.name }}\n{% endfor %}\n",
         "1. a\n2. b\n"),
        ("{% for k, v in prices.items() %}{{ k }}={{ v }};{% endfor %}", "x=1.5;y=2;"),
        ("{% for k, v in prices|dictsort %}{{ k }}={{ v }};{% endfor %}", "x=1.5;y=2;"),
        ("{{ '%.2f'|format(total) }} {{ '%08.3f' % total }}", "1234.50 1234.500"),
        ("{{ '{:,.2f}'.format(total) }} {{ '{a:>8}'.format(a=total) }}", "1,234.50   1234.5"),
        ("{{ order['items'][0].name.upper() }}", "A"),
        ("{{ order.items|map(attribute='name')|join(', ') }}", "a, b"),
        ("{{ order.items|sum(attribute='n') }} {{ order.items|length }}", "3 2"),
        ("{{ nick|default('nobody') }} {{ 'yes' if total > 5 }}{{ 'no' if total < 5 }}",
         "nobody yes"),
        ("{{ empty|default('none', true) }}", "none"),
        ("{{ 'a'.ljust(4) }}|{{ 'b'|center(5) }}|{{ 'a b'.replace(' ', '_') }}", "a   |  b  |a_b"),
        ("{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}"
         "{% endfor %}{{ ns.n }}", "10"),
        ("{% for row in order.items|batch(1) %}{{ row[0].n }}{% endfor %}", "12"),
        ("{% for c in [1, 2, 3]|slice(2, '-') %}{{ c|join(',') }};{% endfor %}", "1,2;3,-;"),
        ("{{ range(5)|slice(3)|map('length')|join(' ') }}", "2 2 1"),
        ("{% for i in order.items if i.n > 1 %}{{ i.name }}{% else %}none{% endfor %}", "b"),
        ("{% for g in order.items|groupby('n') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}",
         "1:1 2:1 "),
        ("{{ ['b', 'a']|sort|join }}{{ ', '.join(['x', 'y']) }}{{ 'a' ~ 1 ~ total }}",
         "abx, ya11234.5"),
        ("{{ 'some words that go on'|wordwrap(20) }}|{{ 'a\nb'|indent(2) }}|{{ 2 ** 10 }}",
         "some words that go\non|a\n  b|1024"),
        ("{{ (order.items|first).name }}{{ (order.items|last).name }}{{ 7 // 2 }}{{ '-' * 3 }}",
         "ab3---"),
        ("{{ prices|tojson }}{{ '<b>x</b>'|striptags }}{{ 2.345|round(2) }}",
         '{"x": 1.5, "y": 2}x2.35'),
        ("{%- macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
         "3210"),
    ],
)  # fmt: skip
def test_common_template_features_work(folder, source, out):
    """Being held in takes away nothing that a mail needs."""
    data = {
        "order": {"items": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]},
        "prices": {"x": 1.5, "y": 2},
        "total": 1234.5,
        "empty": "",
    }
    assert text_of(folder, source, **data) == out


@unhurried
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",))))
def test_any_text_comes_out_as_it_went_in(tmp_path_factory, text):
    """Data is never read as a template, and no character of it is lost."""
    folder = tmp_path_factory.getbasetemp()
    put(folder, t_txt="[{{ a }}]", t_html="[{{ a }}]")
    filled = Templates(folder).fill("t", {"a": text})
    assert filled.text == f"[{text}]"
    assert "<" not in filled.html


def test_a_byte_order_mark_is_no_part_of_a_template(folder):
    """Some editors begin files with one."""
    put(folder, t_subject_txt="\ufeffHi", t_txt="\ufeffHello", t_html="\ufeff<p>Hello")
    filled = Templates(folder).fill("t", {})
    assert (filled.subject, filled.text, filled.html) == ("Hi", "Hello", "<p>Hello")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@unhurried
@given(
    st.dictionaries(st.sampled_from(["a", "b", "items", "self", "loop", "range"]), json_values),
    st.sampled_from(
        [
            "{{ a }}{{ b.c }}",
            "{% for x in a %}{{ x }}{% endfor %}",
            "{{ a|join(b) }}",
            "{{ a + b }}{{ a * b }}{{ a % b }}{{ a ** b }}",
            "{{ a|replace(b, a) }}{{ a|tojson }}{{ a[b] }}",
            "{% for k, v in a.items() %}{{ k }}{{ v|upper }}{% endfor %}",
            "{{ a|center(b) }}{{ a|round(b) }}{{ a|batch(b)|list|length }}",
            "{{ range(a)|list|length }}{{ a|indent(b) }}{{ a|sort|first }}",
        ]
    ),
)
def test_any_data_is_refused_cleanly(tmp_path_factory, data, source):
    """Whatever JSON holds, a template is filled in or its faults are named."""
    folder = tmp_path_factory.getbasetemp()
    put(folder, t_txt=source)
    preview = Templates(folder).preview("t", data)
    assert preview.faults or preview.text is not None


# What is missing


def test_every_missing_variable_is_named_once(folder):
    """All that was needed and not there, in all parts, each by its pointer."""
    put(
        folder,
        t_subject_txt="{{ name }}",
        t_txt="{{ name }} {{ order.id }} {{ order.total }} {% for i in items %}{{ i }}{% endfor %}"
        "{{ user.name }}",
        t_html="{{ name }}{{ user.name }}{{ places[1].zip }}{{ places[0]['a/b~'] }}",
    )
    found = faults(Templates(folder).fill, "t", {"order": {"id": 3}, "places": [{}, {"a": 1}]})
    assert {fault.pointer for fault in found} == {
        "/data/name",
        "/data/order/total",
        "/data/items",
        "/data/user",
        "/data/places/1/zip",
        "/data/places/0/a~1b~0",
    }
    assert "name is missing; t.subject.txt needs it" in {fault.message for fault in found}
    assert "order.total is missing; t.txt needs it" in {fault.message for fault in found}


def test_in_a_loop_the_element_that_lacks_it_is_named(folder):
    """The pointer leads to the very element of the list."""
    found = faults(
        text_of,
        folder,
        "{% for i in order['items'] %}{{ i.price }}{% endfor %}",
        order={"items": [{"price": 1}, {}, {"price": 2}, {}]},
    )
    assert [f.pointer for f in found] == ["/data/order/items/1/price", "/data/order/items/3/price"]


def test_values_of_a_branch_not_taken_are_not_missing(folder):
    """Only what was really needed counts; a condition on what is missing is an error itself."""
    source = "{% if paid %}{{ receipt }}{% else %}{{ bill }}{% endif %}"
    assert text_of(folder, source, paid=True, receipt="r") == "r"
    (fault,) = faults(text_of, folder, source, receipt="r")
    assert fault.pointer == "/data/paid"
    assert text_of(folder, "{% if paid is defined %}{{ paid }}{% endif %}-") == "-"


@pytest.mark.parametrize(
    "source",
    ["{{ oder.id|default('x') }}", "{% if oder.id is defined %}{% endif %}",
     "{% if oder.id is undefined %}{% endif %}", "{{ oder.items() }}", "{{ oder + 1 }}",
     "{{ 'a' ~ oder }}", "{{ oder|upper }}", "{{ oder|length }}", "{% if oder == 1 %}{% endif %}",
     "{{ oder|join }}", "{{ oder|tojson }}", "{{ '%s'|format(oder) }}", "{{ [oder]|join }}",
     "{% if not oder %}{% endif %}", "{{ oder.a.b.c }}"],
)  # fmt: skip
def test_no_way_round_a_missing_variable(folder, source):
    """Any use of what is not there is refused, and so is a default for a part of it."""
    (fault,) = faults(text_of, folder, source, order={"id": 1})
    assert fault.pointer == "/data/oder", fault


def test_null_and_lists_are_not_printed(folder):
    """A mail that greets None, or shows a list as Python writes it, is a mistake."""
    assert "t.txt, line 2: null cannot be printed" in refusal(folder, "\n{{ a }}", a=None)
    assert "a list cannot be printed" in refusal(folder, "{{ a }}", a=[1])
    assert "a dict cannot be printed" in refusal(folder, "{{ a }}", a={})
    assert "cannot be printed" in refusal(folder, "{{ a.title }}", a="x")


def test_an_unknown_template_is_answered_with_the_known_ones(folder):
    """The fault is at /template, and helps."""
    put(folder, one_txt="1", two_txt="2", _three_txt="3")
    (fault,) = faults(Templates(folder).fill, "tow", {})
    assert fault.pointer == "/template"
    assert fault.message == "there is no template 'tow'; known: one, two"
    (fault,) = faults(Templates(None).fill, "tow", {})
    assert "NOTIFIER_TEMPLATES" in fault.message
    assert Templates(None).all() == ()


@pytest.mark.parametrize("evil", ["a\nBcc: b@x.org", "a\r\nb", "a\x00", "a\u2028b", "a\x85b"])
def test_a_subject_is_one_line(folder, evil):
    """A line break from data cannot start another header; NUL goes nowhere."""
    put(folder, t_subject_txt="{{ a }} x", t_txt="x", t_html="x")
    (fault,) = faults(Templates(folder).fill, "t", {"a": evil})
    assert fault.pointer == "/data"
    assert "t.subject.txt" in fault.message
    assert "NUL" in faults(text_of, folder, "{{ a }}", a="\x00")[-1].message


def test_a_preview_shows_what_can_be_shown(folder):
    """What is missing is blank and named beside it; a part that fails is left out."""
    put(folder, t_subject_txt="Hi {{ name }}!", t_txt="{{ 1 // 0 }}", t_html="<b>{{ x }}</b>")
    preview = Templates(folder).preview("t", {"x": "y"})
    assert (preview.subject, preview.text, preview.html) == ("Hi !", None, "<b>y</b>")
    assert {fault.pointer for fault in preview.faults} == {"/data/name", "/template"}


def test_template_faults_name_file_and_line(folder):
    """The line is of the file that the fault is in, not of the one that included it."""
    put(folder, _row_txt="\n\n{{ a // 0 }}", t_txt="\n{% include '_row.txt' %}")
    (fault,) = faults(Templates(folder).fill, "t", {"a": 1})
    assert fault.message.startswith("_row.txt, line 3: ")
    assert "zero" in fault.message


# The folder


def test_every_fault_of_the_folder_is_named_at_once(folder):
    """File and line stand in each, before anything is sent."""
    put(
        folder,
        a_txt="ok\n\n{% if x %}",
        b_html="{{ x|nofilter }}",
        c_txt="{% include which %}",
        d_txt="{% include 'gone.txt' %}",
        e_html="{% include 'ok.txt' %}",
        f_txt=" \n",
        g_subject_txt="alone",
        ok_txt="ok",
        j_txt="{% for i in range(3) %}" * 40 + "{% endfor %}" * 40,
    )
    (folder / "Wrong.Name.txt").write_text("x")
    (folder / "latin.txt").write_bytes(b"\xe9")
    (folder / "notes.md").write_text("{% ignored")
    found = "\n".join(broken(folder))
    for start in (
        "a.txt, line 3: ",
        "b.html, line 1: No filter named 'nofilter'",
        "c.txt: write the name of the file",
        "d.txt: there is no file gone.txt",
        "e.html: ok.txt is not HTML",
        "f.txt: is empty",
        "g.subject.txt: g.txt or g.html is missing",
        "j.txt: cannot be compiled",
        "Wrong.Name.txt: call it",
        "latin.txt: cannot be read",
    ):
        assert f"{folder}/{start}" in found, start
    assert "notes" not in found
    assert "ok.txt:" not in found.replace("e.html: ok.txt", "")


def test_a_folder_that_is_not_there_is_a_fault(folder):
    """A misspelt setting is said, not taken for an empty folder."""
    assert "cannot be read" in broken(folder / "gone")[0]


def test_a_changed_folder_is_taken_up_and_a_broken_one_is_not(folder):
    """The service needs no restart; what is broken is kept in `faults` and the old stays in use."""
    clock = Clock()
    put(folder, t_txt="one")
    templates = Templates(folder, clock=clock)
    put(folder, t_txt="two!", u_txt="new")
    assert templates.fill("t", {}).text == "one"
    clock.now += 1
    assert templates.fill("t", {}).text == "two!"
    assert [listed.name for listed in templates.all()] == ["t", "u"]
    before = templates._now
    clock.now += 1
    assert templates.fill("t", {}).text == "two!"
    assert templates._now is before, "what has not changed is not read again"
    put(folder, t_txt="{% if")
    clock.now += 1
    assert templates.fill("t", {}).text == "two!"
    assert "t.txt, line 1" in templates.faults[0]
    put(folder, t_txt="three!")
    clock.now += 1
    assert templates.fill("t", {}).text == "three!"
    assert templates.faults == ()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    clock.now += 1
    assert templates.fill("t", {}).text == "three!"
    assert templates.faults


# The sandbox


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ d['__class__'] }}",
        "{{ d.__class__ }}",
        "{{ 5 .__class__ }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ '{0.__class__.__mro__}'.format(d) }}",
        "{{ '{0[__class__]}'.format(d) }}",
        "{{ '{0.__init__.__globals__}'.format(range) }}",
        "{{ ('{0.__class__}'|string).format(a) }}",
        "{{ '{a.__class__}'.format_map(d) }}",
        "{{ ''.format.__self__ }}",
        "{{ ''.format.__globals__ }}",
        "{{ ''.upper.__self__ }}",
        "{{ ''.center.func }}",
        "{{ range.__globals__ }}",
        "{{ range.__init__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ joiner().__init__ }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ self }}",
        "{{ range }}",
        "{{ [a]|map(attribute='__class__')|first }}",
        "{{ [d]|map(attribute='__class__.__mro__')|list|tojson }}",
        "{{ [a]|map('attr', '__class__')|first }}",
        "{{ [d]|groupby('__class__')|first|first }}",
        "{{ [1]|sum(attribute='__class__') }}",
        "{{ [d]|selectattr('__class__.__name__')|list|length }}",
        "{% for x in [1] %}{{ loop.__init__ }}{{ loop._iterable }}{% endfor %}",
        "{% for x in [1] %}{{ loop._iterable|length }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m._argument_count }}",
        "{% set n = namespace(x=1) %}{{ n._Namespace__attrs|length }}",
        "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m.__class__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
        "{{ l.append(1) }}",
        "{{ l.sort() }}",
        "{{ d.update({}) }}",
        "{{ d.pop('x') }}",
        "{{ environment }}",
        "{{ config }}",
        "{{ cycler }}",
        "{{ lipsum(n=9999) }}",
        "{{ (1).to_bytes(9, 'big') }}",
        "{{ 'x'.encode('utf-16') }}",
        "{{ ('x'|attr('__class__')).__name__ }}",
        "{{ missing.__class__ }}",
        "{{ (missing if false else nix)._undefined_exception }}",
        "{{ a|safe.__class__ }}",
    ],
)
def test_no_way_to_the_insides_of_python(folder, source):
    """Known escapes from Jinja's sandbox, and ways to change or reach what is not data."""
    data = {"a": "text", "d": {"x": 1}, "l": [1]}
    put(folder, t_txt=source)
    try:
        templates = Templates(folder)
    except ConfigurationError:
        return
    assert faults(templates.fill, "t", data)
    assert data == {"a": "text", "d": {"x": 1}, "l": [1]}


def test_data_may_be_called_anything(folder):
    """A caller's names shadow nothing that holds the template in."""
    data = {"environment": "e", "context": "c", "undefined": "u", "__class__": "k", "step": "s"}
    source = "{{ environment }}{{ context }}{{ undefined }}{{ d.__class__ }}{{ d.items }}{{ step }}"
    assert text_of(folder, source, **data, d={"__class__": "x", "items": "y"}) == "ecuxys"


# Bounds


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{% for i in range(100001) %}{% endfor %}", "Range too big"),
        ("{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}", "longer than 1,000,000"),
        ("{% for i in l %}{% for j in l %}{{ j }}{% endfor %}{% endfor %}", "longer than"),
        ("{% include 't.txt' %}", "call each other endlessly"),
        ("{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}", "call each other endlessly"),
        ("{{ 'x' * n }}", "at most"),
        ("{{ n * 'x' }}", "at most"),
        ("{% set x = l * n %}", "at most"),
        ("{{ 9 ** n }}", "20,000 bits"),
        ("{{ (9 ** 4000) * (9 ** 4000) }}", "20,000 bits"),
        ("{{ 10.0 ** 400 }}", "out of range"),
    ],
)
def test_output_of_a_template_is_bounded(folder, source, why):
    """Output, ranges, products and powers, whatever number the data brings."""
    data = {"l": list(range(5000)), "n": 1_000_000_000}
    tracemalloc.start()
    try:
        message = refusal(folder, source, **data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.startswith("t.txt")
    assert why in message
    assert peak < 32 * LONGEST


def test_a_long_mail_is_within_the_bounds(folder):
    """A table of five thousand rows is rendered."""
    put(
        folder,
        t_html="<table>{% for r in rows %}<tr><td>{{ loop.index }}</td><td>{{ r.name }}</td><td>"
        "{{ '%.2f'|format(r.price) }}</td></tr>{% endfor %}</table>",
    )
    rows = [{"name": f"Row & {number}", "price": number / 3} for number in range(5000)]
    assert Templates(folder).fill("t", {"rows": rows}).html.count("<tr>") == 5000
