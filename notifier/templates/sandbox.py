"""
Where an operator's templates run: no way to Python's insides, no way to run away.

Data comes from callers and is plain JSON; templates come from the operator, who may err. Both
are held in: what is not listed here cannot be reached or called.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound, Undefined, pass_context
from jinja2.environment import Environment, TemplateModule
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import (
    ImmutableSandboxedEnvironment,
    SandboxedEscapeFormatter,
    SandboxedFormatter,
    safe_range,
)
from jinja2.tests import TESTS
from jinja2.utils import Joiner, Namespace, missing
from markupsafe import Markup

from notifier.templates.filters import (
    BITS,
    GUARDED_METHODS,
    SAFE,
    TEXT_METHODS,
    check_percent,
    check_spec,
    modest,
)
from notifier.templates.guard import GuardedCode
from notifier.templates.meter import TooMuch, current

Lacking: TypeAlias = tuple[Any, Any]  # what was asked (or jinja2's `missing`), and for which name

# The attributes of a template's values; of jinja2's own things all that are public.
_ATTRIBUTES: dict[type | tuple[type, ...], frozenset[str]] = {
    str: frozenset(TEXT_METHODS),
    dict: frozenset({"get", "items", "keys", "values"}),
    (list, tuple): frozenset({"count", "index", "grouper", "list"}),  # the last two: of |groupby
    (int, float): frozenset({"is_integer"}),
}
_JINJA = (LoopContext, Namespace, TemplateModule, Macro, BlockReference)
_NUMBERS = (int, float)


class MissingError(UndefinedError):
    """A value was needed that is not there."""

    def __init__(self, lacking: Lacking, message: str | None = None) -> None:
        super().__init__(message)
        self.lacking = lacking


class Missing(StrictUndefined):
    """
    Stands for what is not there. Showing it, or going over it, is noted and goes on, so that one
    answer names all that is missing; any other use ends the rendering, as what would come after
    it is not known.
    """

    __slots__ = ("beyond", "lacking")

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: Any = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        self.beyond = False  # a part of what is missing: no default may hide it
        self.lacking: Lacking | None = None
        if hint is None and exc is UndefinedError:
            self.lacking = (obj, name)
            exc = functools.partial(MissingError, self.lacking)  # type: ignore[assignment] # it is only called
        super().__init__(hint, obj, name, exc)

    def part(self) -> "Missing":
        """What `order.id` is where there is no `order`."""
        self.require()
        part = Missing(None, *(self.lacking or ()))
        part.beyond = True
        return part

    def require(self) -> None:
        """Raise, unless it simply is not there."""
        if self.lacking is None:
            str(self)

    def note(self) -> str:
        self.require()
        current.meter.missing.append(self.lacking)
        return ""

    def __iter__(self) -> Any:
        self.note()
        return iter(())


def _defined(value: Any) -> bool:
    if isinstance(value, Missing) and value.beyond:
        str(value)
    return not isinstance(value, Undefined)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return value if _defined(value) and (value or not boolean) else default_value


class _Checked(SandboxedFormatter):
    """`{:,.2f}`.format, held in."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        check_spec(format_spec)
        current.meter.weigh(value)
        text = super().format_field(value, format_spec)
        current.meter.spend(1, len(text))
        return text


class _CheckedEscaping(_Checked, SandboxedEscapeFormatter):
    """The same for text that is HTML."""


class _Namespace(Namespace):
    """Printed, it does not print what is in it."""

    def __repr__(self) -> str:
        return "namespace"


@pass_context  # which also keeps jinja2 from folding constants when nobody counts
def _shown(_: Context, value: Any) -> Any:
    """What comes out between {{ and }}."""
    if isinstance(value, str):
        current.meter.spend(1, len(value))
        return value
    if isinstance(value, _NUMBERS):
        return value
    if isinstance(value, Missing):
        return value.note()
    if isinstance(value, Undefined):
        return ""  # of an `if` without `else`
    if value is None:
        raise TemplateRuntimeError("null cannot be shown; |default('...', true) says what instead")
    kind = type(value).__name__
    raise TemplateRuntimeError(f"a {kind} cannot be shown as it is, only text and numbers can")


class Files(BaseLoader):
    """Templates from memory, so that all of a rendering comes from the same state of the folder."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def get_source(
        self,
        environment: Environment,  # noqa: ARG002 - jinja2 gives it
        template: str,
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        if template not in self._sources:
            raise TemplateNotFound(template)
        return self._sources[template], template, lambda: True


class Sandbox(ImmutableSandboxedEnvironment):
    """jinja2, held in. What a rendering may use is counted by the meter of its thread."""

    code_generator_class = GuardedCode
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, sources: Mapping[str, str]) -> None:
        super().__init__(
            loader=Files(sources),
            undefined=Missing,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            finalize=_shown,
            optimized=False,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters = {**SAFE, "default": _default, "d": _default}
        self.tests = {**TESTS, "defined": _defined, "undefined": lambda value: not _defined(value)}
        self.globals = {"range": safe_range, "namespace": _Namespace, "joiner": Joiner}

    def step(self, characters: int) -> bool:
        """Called at the head of every body that can be run again."""
        current.meter.spend(1, characters)
        return True

    def weighed(self, value: Any) -> Any:
        """Called on every list that is built, and every part that is put together with ~."""
        if isinstance(value, str):
            current.meter.spend(1, len(value))
        elif not isinstance(value, _NUMBERS):
            current.meter.weigh(value)
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]  # `order.items` is the caller's, as is any other name
        if isinstance(obj, Missing):
            return obj.part()
        if isinstance(obj, str) and attribute in GUARDED_METHODS:
            return functools.partial(GUARDED_METHODS[attribute], obj)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return obj.part() if isinstance(obj, Missing) else super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return isinstance(obj, _JINJA) or any(
            attr in names for kind, names in _ATTRIBUTES.items() if isinstance(obj, kind)
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        text = getattr(value, "__self__", None)
        if not isinstance(text, str) or getattr(value, "__name__", "") != "format":
            return None
        formatter = (
            _CheckedEscaping(self, escape=text.escape)
            if isinstance(text, Markup)
            else _Checked(self)
        )
        kind = type(text)
        return lambda *args, **kwargs: kind(formatter.vformat(text, args, kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
            return _reckoned(super().call_binop, context, operator, left, right)
        if operator == "%" and isinstance(left, str):
            check_percent(left, right)
        elif operator == "*":
            _check_repeat(left, right)
        return self.weighed(super().call_binop(context, operator, left, right))


def _check_repeat(left: Any, right: Any) -> None:
    many, times = (right, left) if isinstance(left, int) else (left, right)
    if isinstance(many, str | list | tuple) and isinstance(times, int):
        allowance = current.meter.allowance
        limit = allowance.made if isinstance(many, str) else allowance.values
        if len(many) * times > limit:
            raise TooMuch(f"it repeats something {times:,} times")


def _reckoned(
    reckon: Callable[..., Any], context: Context, operator: str, left: float, right: float
) -> Any:
    modest(left)
    modest(right)
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "**" and whole and abs(left) > 1 and int(left).bit_length() * right > BITS:
        raise TooMuch("it makes a number that is too long")
    current.meter.spend()
    return modest(reckon(context, operator, left, right))
