"""Render an operator's templates with a caller's data, in Jinja2's sandbox."""

import functools
import re
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, Undefined
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from notifier.errors import Fault, pointer_step

LONGEST = 1_000_000  # characters of one part, and of a text or list that `*` makes
BITS = 20_000  # of a number that a template computes

# Line breaks and control characters, which a subject must not have. RFC 5322, section 2.2.
_NOT_ONE_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


# The missing values that the rendering in this context has printed or looped over.
_NOTED: ContextVar[list["MissingValue"]] = ContextVar("_NOTED")


class MissingValue(UndefinedError):
    """A value is missing in the data. `owner` is the object that was asked for `name`."""

    def __init__(self, owner: Any, name: Any, message: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner
        self.name = name


class Missing(StrictUndefined):
    """
    Stands for a value that is not in the data. Printing it or looping over it is noted, and the
    rendering goes on, so that one answer names all missing values. Any other use ends the
    rendering.
    """

    __slots__ = ("within_missing",)

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: Any = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if hint is None and exc is UndefinedError:
            exc = functools.partial(MissingValue, obj, name)  # type: ignore[assignment] # it is only called
        super().__init__(hint, obj, name, exc)
        self.within_missing = False  # a part of something missing: no default may hide it

    def part(self) -> "Missing":
        """The value of `order.id` if there is no `order`."""
        part = Missing(None, self._undefined_obj, self._undefined_name)
        part.within_missing = True
        return part

    def note(self) -> str:
        """Note that the value is missing, and print nothing. Raises if its owner is missing."""
        try:
            return str(self)
        except MissingValue as error:
            _NOTED.get().append(error)
            return ""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override] # Jinja2's always raises
        self.note()
        return iter(())


class Sandbox(ImmutableSandboxedEnvironment):
    """
    Jinja2's sandbox with strict undefined values. Jinja2 bounds `range`, `render` bounds the
    output, and this class bounds `*` and `**`.
    """

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.files = frozenset(sources)
        super().__init__(
            # From memory, so that a whole rendering uses the same state of the folder.
            loader=FunctionLoader(
                lambda name: (sources[name], name, lambda: True) if name in sources else None
            ),
            undefined=Missing,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            finalize=_shown,
            optimized=False,  # else Jinja2 would print constants without `finalize`
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters |= {"default": _default, "d": _default}
        self.tests |= {"defined": _defined, "undefined": lambda value: not _defined(value)}
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _refuse_json}
        # Jinja2's others make text at random.
        self.globals = {name: self.globals[name] for name in ("range", "namespace", "joiner")}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`order.items` is the caller's item, not the method of a dict."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return obj.part() if isinstance(obj, Missing) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return obj.part() if isinstance(obj, Missing) else super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Raises TemplateRuntimeError for a product or power that is too large."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            if abs(left) > 1 and left.bit_length() * right > BITS:
                raise TemplateRuntimeError(f"a number may have {BITS:,} bits at most")
        elif isinstance(left, int) and isinstance(right, int):
            if left.bit_length() + right.bit_length() > BITS:
                raise TemplateRuntimeError(f"a number may have {BITS:,} bits at most")
        elif operator == "*":
            times, repeated = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(times, int) and times * len(repeated) > LONGEST:
                raise TemplateRuntimeError(f"* may make {LONGEST:,} characters or items at most")
        return super().call_binop(context, operator, left, right)


def render(
    sandbox: Sandbox, files: Mapping[str, str], data: Mapping[str, Any]
) -> tuple[dict[str, str], list[Fault]]:
    """
    The parts of a template that could be rendered, and every fault: `/data/...` for a missing
    value, `/template` for an error in the template.
    """
    parts: dict[str, str] = {}
    faults: list[Fault] = []
    for part, file in files.items():
        noted: list[MissingValue] = []
        try:
            text = _output(sandbox, file, data, noted)
            if fault := _unfit(part, text):
                faults.append(Fault("/data", f"{file}: {fault}"))
            else:
                parts[part] = text
        except MissingValue as error:
            noted.append(error)
        except Exception as error:  # noqa: BLE001 - a template may raise any error
            faults.append(Fault("/template", _located(error, file, sandbox)))
        faults += [_missing_fault(each, file, data) for each in noted]
    return parts, list(dict.fromkeys(faults))


def _output(sandbox: Sandbox, file: str, data: Mapping[str, Any], noted: list[MissingValue]) -> str:
    chunks, size = [], 0
    token = _NOTED.set(noted)
    try:
        for chunk in sandbox.get_template(file).generate(data):
            size += len(chunk)
            if size > LONGEST:
                raise TemplateRuntimeError(f"the output is longer than {LONGEST:,} characters")
            chunks.append(chunk)
    finally:
        _NOTED.reset(token)
    text = "".join(chunks)
    return text.strip() if file.endswith(".subject.txt") else text


def _shown(value: Any) -> Any:
    """What `{{ value }}` prints. Only text and numbers can be printed."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Missing):
        return value.note()
    if isinstance(value, Undefined):
        return ""  # of an `if` without `else`
    if value is None:
        raise TemplateRuntimeError("null cannot be printed; use |default('...', true)")
    kind = type(value).__name__
    raise TemplateRuntimeError(f"a {kind} cannot be printed; only text and numbers can")


def _refuse_json(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises, and names what is missing
    raise TemplateRuntimeError(f"a {type(value).__name__} cannot be written as JSON")


def _defined(value: Any) -> bool:
    if isinstance(value, Missing) and value.within_missing:
        str(value)  # raises: what it is a part of is missing, which is a mistake
    return not isinstance(value, Undefined)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return value if _defined(value) and (value or not boolean) else default_value


def _unfit(part: str, text: str) -> str:
    if part == "subject" and _NOT_ONE_LINE.search(text):
        return "a subject is one line, but this one has a line break or a control character"
    if "\x00" in text:
        return "the output contains NUL"
    return ""


def _located(error: Exception, file: str, sandbox: Sandbox) -> str:
    """Where a rendering failed, and why."""
    line = 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in sandbox.files:
            file, line = frame.f_code.co_filename, number
    at = f"{file}, line {line}" if line else file
    if isinstance(error, RecursionError):
        return f"{at}: macros, loops or files call each other endlessly"
    return f"{at}: {str(error) or type(error).__name__}"


def _missing_fault(error: MissingValue, file: str, data: Mapping[str, Any]) -> Fault:
    path = () if error.owner is missing else _path_to(error.owner, data)
    if path is None:  # of a value that the template made itself
        return Fault("/data", f"{error.name!r} is missing; {file} needs it")
    steps = [str(step) for step in (*path, error.name)]
    pointer = "".join(f"/{pointer_step(step)}" for step in steps)
    return Fault(f"/data{pointer}", f"{'.'.join(steps)} is missing; {file} needs it")


def _path_to(whole: Any, data: Any) -> tuple[str | int, ...] | None:
    """The path in the data of this very object or list."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(data, ())]
    while waiting:
        value, path = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if value is whole:
            return path
        children = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += ((child, (*path, key)) for key, child in children)
    return None
