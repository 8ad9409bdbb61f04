"""The filters and methods that a template may use, none of which can run away."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from jinja2 import Environment, Undefined, pass_environment, pass_eval_context
from jinja2.exceptions import FilterArgumentError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context

from notifier.templates.meter import TooMuch, current

Filter: TypeAlias = Callable[..., Any]

WIDEST = 999  # what one may fill up to, indent by, or repeat
NARROWEST = 20  # and wrap at: cutting a long word into pieces costs its length times their number
STRIPPED = 50_000  # characters; removing tags takes time by the square
BITS = 20_000  # of a number


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# From one text or number to another: they make about as much as they are given.
_TEXTUAL = _words("""abs capitalize e escape filesizeformat float forceescape int length count lower
 safe string title trim truncate upper urlencode wordcount""")
# Over the elements of a list.
_OVER = _words("""dictsort first groupby items list map max min reject rejectattr select
 selectattr sort unique""")
_WHOLE = ["last", "reverse"]  # which need the list itself


def small(value: Any) -> Any:
    """The same; FilterArgumentError for a number that makes something huge."""
    if isinstance(value, int) and abs(value) > WIDEST:
        raise FilterArgumentError(f"{value} is more than {WIDEST}, the most that is allowed here")
    return value


def _textual(function: Filter) -> Filter:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        current.meter.spend(1, len(result) if isinstance(result, str) else 0)
        return modest(result)

    return counted


def _over(function: Filter) -> Filter:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        meter = current.meter
        meter.spend()
        at = 1 if isinstance(args[0], Environment | Context | EvalContext) else 0
        if isinstance(args[at], Iterable) and not isinstance(args[at], str | dict):
            args = (*args[:at], meter.counted(args[at]), *args[at + 1 :])
        return function(*args, **kwargs)

    return counted


def modest(value: Any) -> Any:
    """The same; TooMuch for a number of more than 6,000 digits."""
    if isinstance(value, int) and value.bit_length() > BITS:
        raise TooMuch("it makes a number that is too long")
    return value


def _center(value: str, width: int = 80) -> str:
    return str(FILTERS["center"](value, small(width)))


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
    small(len(width) if isinstance(width, str) else width)
    text = FILTERS["string"](s)
    current.meter.spend(1, (len(text.splitlines()) + 1) * WIDEST // 10)
    return FILTERS["indent"](text, width, first, blank)


@pass_eval_context
def _replace(context: EvalContext, s: Any, old: Any, new: Any, count: int | None = None) -> Any:
    # Escaped, a character may become five.
    current.meter.spend(1, 5 * str(s).count(str(old)) * len(str(new)))
    return FILTERS["replace"](context, s, old, new, count)


@pass_eval_context
def _join(
    context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> Any:
    if attribute is not None:
        value = map(make_attrgetter(context.environment, attribute), value)
    values = list(current.meter.counted(value))
    current.meter.spend(1, len(values) * len(str(d)))
    current.meter.weigh(values)
    return FILTERS["join"](context, values, d)


@pass_environment
def _wordwrap(
    environment: Environment,
    s: str,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> Any:
    if width < NARROWEST:
        raise FilterArgumentError(f"wordwrap needs a width of {NARROWEST} or more")
    text = FILTERS["string"](s)
    if len(text) > STRIPPED:
        raise TooMuch(f"wordwrap takes at most {STRIPPED:,} characters")
    current.meter.spend(1 + len(text) // 8, len(text) // 10 * len(wrapstring or ""))
    return FILTERS["wordwrap"](
        environment, text, width, break_long_words, wrapstring, break_on_hyphens
    )


def _striptags(value: Any) -> str:
    if len(str(value)) > STRIPPED:
        raise TooMuch(f"striptags takes at most {STRIPPED:,} characters")
    return str(FILTERS["striptags"](value))


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 20:
        raise FilterArgumentError("round goes to at most 20 places")
    return float(FILTERS["round"](value, precision, method))


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Any:
    return FILTERS["batch"](value, small(linecount), _single(fill_with))


@pass_eval_context
def _slice(context: EvalContext, value: Iterable[Any], slices: int, fill_with: Any = None) -> Any:
    return FILTERS["slice"](context, value, small(slices), _single(fill_with))


@pass_environment
def _sum(
    environment: Environment,
    iterable: Iterable[Any],
    attribute: str | int | None = None,
    start: float = 0,
) -> Any:
    if attribute is not None:
        iterable = map(make_attrgetter(environment, attribute), iterable)
    total = start
    for value in current.meter.counted(iterable):
        if isinstance(value, str | list | tuple):
            raise FilterArgumentError("sum adds up numbers")
        total = modest(total + value)
    return total


@pass_eval_context
def _tojson(context: EvalContext, value: Any, indent: int | None = None) -> Any:
    if isinstance(value, Undefined):
        str(value)  # says which; JSON would say a Python class
    current.meter.weigh(value)
    return FILTERS["tojson"](context, value, small(indent))


def _format(value: str, *args: Any, **kwargs: Any) -> Any:
    check_percent(value, kwargs or args)
    return FILTERS["format"](value, *args, **kwargs)


_FIELD = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")
_WIDE = re.compile(r"\d{4}")


def check_percent(template: str, values: Any) -> None:
    """TooMuch for a `%` that would make a huge text of small ones."""
    fields = _FIELD.findall(template)
    if any("*" in field or len(max(field, key=len)) > 3 for field in fields):
        raise FilterArgumentError(f"a width of more than {WIDEST}, or one given by *, in a format")
    current.meter.spend(1, 5 * len(fields) * current.meter.weigh(values))


def check_spec(spec: str) -> None:
    """The same for what stands behind the colon of a `{:...}`."""
    if _WIDE.search(spec):
        raise FilterArgumentError(f"a width of more than {WIDEST} in a format")


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        raise FilterArgumentError("only text or a number can fill up")
    return value


SAFE: dict[str, Filter] = {
    **{name: _textual(FILTERS[name]) for name in _TEXTUAL},
    **{name: _over(FILTERS[name]) for name in _OVER},
    **{name: FILTERS[name] for name in _WHOLE},
    "batch": _over(_batch),
    "slice": _over(_slice),
    **{
        function.__name__.removeprefix("_"): _textual(function)
        for function in (
            *(_center, _indent, _replace, _join, _wordwrap, _striptags, _round, _sum, _tojson),
            _format,
        )
    },
}
# Methods of text that make no more than they are given, and others by the same guards as filters.
TEXT_METHODS = _words("""capitalize casefold count endswith find index isalnum isalpha isascii
 isdecimal isdigit islower isnumeric isspace istitle isupper lower lstrip partition removeprefix
 removesuffix rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase
 title upper""")
GUARDED_METHODS: dict[str, Filter] = {
    "center": lambda s, width, fill=" ": s.center(small(width), fill),
    "ljust": lambda s, width, fill=" ": s.ljust(small(width), fill),
    "rjust": lambda s, width, fill=" ": s.rjust(small(width), fill),
    "zfill": lambda s, width: s.zfill(small(width)),
    "join": lambda s, values: _text_join(s, values),
    "replace": lambda s, old, new, count=-1: _text_replace(s, old, new, count),
}


def _text_join(separator: str, values: Iterable[Any]) -> str:
    parts = list(current.meter.counted(values))
    current.meter.spend(1, len(parts) * len(separator))
    return separator.join(parts)


def _text_replace(text: str, old: str, new: str, count: int) -> str:
    current.meter.spend(1, 5 * text.count(old) * len(new))
    return text.replace(old, new, count)
