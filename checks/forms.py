"""Options as fields: what a form shows, and how its text becomes typed options again. Pure.

The types and help texts stand in the kinds' option classes and nowhere else; the page and the API both read them
through this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from checks.probes import probe
from checks.probes.options import OptionError, Options, nearest, one_line

StructT = TypeVar("StructT", bound=msgspec.Struct)
FieldType = Literal["text", "long_text", "secret", "integer", "number", "boolean", "choice", "list", "mapping"]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One option, as a form draws it."""

    name: str
    label: str
    type: FieldType
    required: bool
    default: Any  # None: nothing is filled in.
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    length_max: int | None = None
    choices: tuple[str, ...] = ()
    placeholder: str = ""
    group: str = ""  # Fields of one group stand together, folded away; "" is the main part.
    secret: bool = False
    generated: bool = False  # Filled by the appliance when left empty.
    means: str = ""  # What the value must be, where a pattern decides it.
    optional: bool = False  # None is a value: "no limit".

    @property
    def wanted(self) -> str:
        """What a right value is, in words: "a whole number from 1 to 65,535"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.type in ("integer", "number"):
            return ("a whole number" if self.type == "integer" else "a number") + _range(self.minimum, self.maximum)
        if self.type == "boolean":
            return "true or false"
        if self.type == "list":
            return "a list of texts" + (f", {self.length_max:,} at most" if self.length_max else "")
        if self.type == "mapping":
            return "names with texts" + (f", {self.length_max:,} at most" if self.length_max else "")
        if self.means:
            return self.means
        return "a text" + (f" of at most {self.length_max:,} characters" if self.length_max else "")


@cache
def options_fields(options_type: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of an options class, in the order in which it names them."""
    described = inspect.type_info(options_type)
    assert isinstance(described, inspect.StructType), options_type
    hints = _hints(options_type)
    return tuple(_field(field, hints[field.name]) for field in described.fields)


def fields(kind: str) -> tuple[Field, ...]:
    """The fields of a kind. Raises: OptionError, for an unknown kind."""
    options_type: type[Options] = probe(kind).options_type
    return options_fields(options_type)


def secret_fields(kind: str) -> tuple[str, ...]:
    """The options that are sealed before they are stored and never shown."""
    return tuple(field.name for field in fields(kind) if field.secret)


def validate_options(kind: str, options: Mapping[str, Any]) -> Options:
    """Options as the API or a file gives them, typed. Raises: OptionError, for the first field that is wrong."""
    options_type: type[Options] = probe(kind).options_type
    return convert(options_type, options)


def convert(options_type: type[StructT], options: Mapping[str, Any]) -> StructT:
    """As validate_options, for any class of options."""
    typed, errors = convert_all(options_type, options)
    if typed is None:
        field, message = next(iter(errors.items()))
        raise OptionError(field, message)
    return typed


def convert_all(options_type: type[StructT], options: Mapping[str, Any]) -> tuple[StructT | None, dict[str, str]]:
    """The typed options, or None and one message for each field that is wrong."""
    known = {field.name: field for field in options_fields(options_type)}
    hints = _hints(options_type)
    errors: dict[str, str] = {}
    for name, value in options.items():
        if name not in known:
            errors[name] = f"there is no option {name!r}{nearest(name, known)}"
            continue
        if (message := _value_problem(known[name], hints[name], value)) is not None:
            errors[name] = message
    for field in known.values():
        if field.required and field.name not in options:
            errors[field.name] = f"{field.name} is required: {field.help or field.wanted}"
    if errors:
        return None, errors
    typed = msgspec.convert(dict(options), options_type)
    if isinstance(typed, Options):
        for name, message in typed.problems():
            errors.setdefault(name, message)
    return (None if errors else typed), errors


def from_form(kind: str, form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The text of an HTML form as options, with one message for each field that is wrong.

    An empty field means its default, and is left out; a box that is not ticked is not in the form, and means false.
    The options are what was understood, also when some fields are wrong.
    """
    return options_from_form(probe(kind).options_type, form)


def options_from_form(
    options_type: type[msgspec.Struct], form: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """As from_form, for any class of options."""
    options: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field in options_fields(options_type):
        text = form.get(field.name, "")
        if field.type == "boolean":
            options[field.name] = text.strip().lower() in ("on", "true", "1", "yes")
            continue
        if not text.strip():
            if field.optional:
                options[field.name] = None
            continue
        try:
            options[field.name] = _parse(field, text)
        except ValueError as error:
            errors[field.name] = str(error)
    _, wrong = convert_all(options_type, options)
    return options, {**wrong, **errors}


def to_form(options_type: type[msgspec.Struct], options: Mapping[str, Any]) -> dict[str, str]:
    """Options as the text of a form's fields; secrets stay empty. The way back of options_from_form."""
    out = {}
    for field in options_fields(options_type):
        value = options.get(field.name, field.default)
        if field.secret or value is None:
            out[field.name] = ""
        elif field.type == "boolean":
            out[field.name] = "on" if value else ""
        elif field.type == "list":
            out[field.name] = "\n".join(value)
        elif field.type == "mapping":
            out[field.name] = "\n".join(f"{name}: {text}" for name, text in value.items())
        elif isinstance(value, float):
            out[field.name] = f"{value:.12g}"
        else:
            out[field.name] = str(value)
    return out


@cache
def _hints(options_type: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(options_type, include_extras=True)


def _field(field: inspect.Field, hint: Any) -> Field:
    extra: dict[str, Any] = {}
    help_text = ""
    kind, optional = field.type, False
    for _ in range(4):  # Metadata and "or None" may enclose each other, each at most twice.
        if isinstance(kind, inspect.Metadata):
            extra = {**(kind.extra or {}), **extra}
            help_text = help_text or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            optional = True
            kind = next(inner for inner in kind.types if not isinstance(inner, inspect.NoneType))
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return Field(
        name=field.name,
        label=extra.get("label", _label(field.name)),
        type=_field_type(kind, extra),
        required=field.required,
        default=None if default is msgspec.NODEFAULT else default,
        help=help_text,
        minimum=getattr(kind, "ge", None) if getattr(kind, "ge", None) is not None else getattr(kind, "gt", None),
        maximum=getattr(kind, "le", None) if getattr(kind, "le", None) is not None else getattr(kind, "lt", None),
        length_max=getattr(kind, "max_length", None),
        choices=_choices(hint) if isinstance(kind, inspect.LiteralType) else (),
        placeholder=extra.get("placeholder", ""),
        group=extra.get("group", ""),
        secret=bool(extra.get("secret")),
        generated=bool(extra.get("generated")),
        means=extra.get("means", ""),
        optional=optional,
    )


def _choices(hint: Any) -> tuple[str, ...]:
    """The values of a Literal in the order in which they are written (msgspec sorts them)."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return tuple(str(value) for value in get_args(hint))


_WORDS = {
    "url": "URL",
    "tls": "TLS",
    "json": "JSON",
    "ip": "IP",
    "rtt": "RTT",
    "rcode": "response code",
    "smtp": "SMTP",
}
_UNITS = {"_s": "seconds", "_ms": "ms", "_percent": "%", "_bytes": "bytes", "_bytes_max": "bytes", "_days": "days"}


def _label(name: str) -> str:
    """A field's name in words: `critical_rtt_ms` is "Critical RTT (ms)"."""
    unit = ""
    for suffix, word in sorted(_UNITS.items(), key=lambda pair: -len(pair[0])):
        if name.endswith(suffix):
            name, unit = name.removesuffix(suffix), f" ({word})"
            break
    words = [_WORDS.get(word, word) for word in name.split("_") if word]
    text = " ".join(words)
    return text[:1].upper() + text[1:] + unit


def _field_type(kind: inspect.Type, extra: Mapping[str, Any]) -> FieldType:
    if isinstance(kind, inspect.BoolType):
        return "boolean"
    if isinstance(kind, inspect.IntType):
        return "integer"
    if isinstance(kind, inspect.FloatType):
        return "number"
    if isinstance(kind, inspect.LiteralType):
        return "choice"
    if isinstance(kind, inspect.ListType):
        return "list"
    if isinstance(kind, inspect.DictType):
        return "mapping"
    assert isinstance(kind, inspect.StrType), kind
    if extra.get("secret"):
        return "secret"
    return "long_text" if extra.get("multiline") else "text"


def _value_problem(field: Field, hint: Any, value: Any) -> str | None:
    """What is wrong with one value, or None."""
    try:
        typed = msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        if field.secret:
            return f"this is not {field.wanted}"
        detail = "" if field.type not in ("list", "mapping", "text", "long_text") else _detail(str(error))
        return f"{one_line(_shown(value), characters_max=80)} is not {field.wanted}{detail}"
    if isinstance(typed, float) and not math.isfinite(typed):
        return f"{typed} is not {field.wanted}"
    return None


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else msgspec.json.encode(value, enc_hook=repr).decode()


def _detail(message: str) -> str:
    """The one of msgspec's reasons that our own words do not give: that a text is empty or of another type."""
    found = re.search(r"Expected `\w+`, got `\w+`", message)
    return f" ({found[0].lower().replace('`', '')})" if found else ""


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:,} to {maximum:,}"
    if minimum is not None:
        return f" of at least {minimum:,}"
    return f" of at most {maximum:,}" if maximum is not None else ""


def _parse(field: Field, text: str) -> Any:
    """A form's text as the value of a field's type. Raises: ValueError, with the words for the person."""
    text = text.replace("\r\n", "\n")
    if field.type == "list":
        return [line.strip() for line in text.split("\n") if line.strip()]
    if field.type == "mapping":
        return _parse_mapping(text)
    if field.type in ("integer", "number"):
        plain = text.strip().replace(",", "") if re.fullmatch(r"\s*-?\d{1,3}(,\d{3})+\s*", text) else text.strip()
        try:
            return int(plain) if field.type == "integer" else float(plain)
        except ValueError:
            raise ValueError(f"{text.strip()!r} is not {field.wanted}") from None
    return text if field.type in ("secret", "long_text") else text.strip()


def _parse_mapping(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"line {number}: {line.strip()!r} is not written as name: value")
        pairs[name.strip()] = value.strip()
    return pairs
