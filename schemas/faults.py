"""Every type fault of a document, not just the first, each by its path."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import msgspec

from schemas.errors import Fault


def find_faults(document: object, expected: Any) -> list[Fault]:
    """Compare plain JSON data with a msgspec type and list every place where it does not fit.

    The type may be made of structs (tagged unions of them too), dicts and variable-length tuples;
    anything else is checked whole.
    """
    return list(_walk(document, expected, "$"))


def _walk(value: object, expected: Any, path: str) -> Iterator[Fault]:
    bare = get_args(expected)[0] if get_origin(expected) is Annotated else expected
    if isinstance(bare, UnionType) and isinstance(value, dict):
        yield from _walk_tagged(value, bare, path)
    elif isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
        yield from _walk_struct(value, bare, path)
    elif get_origin(bare) is dict and isinstance(value, dict):
        key_type, item_type = get_args(bare)
        for key, item in value.items():
            yield from _check(key, key_type, f"{path}.{key}", " (the name itself)")
            yield from _walk(item, item_type, f"{path}.{key}")
    elif get_origin(bare) is tuple and isinstance(value, list) and value:
        if bare is not expected:
            length = Annotated[tuple[Any, ...], *get_args(expected)[1:]]
            yield from _check(value, length, path)
        for index, item in enumerate(value):
            yield from _walk(item, get_args(bare)[0], f"{path}[{index}]")
    else:
        yield from _check(value, expected, path)


def _walk_tagged(value: dict[str, object], union: Any, path: str) -> Iterator[Fault]:
    structs = {member.__struct_config__.tag: member for member in get_args(union)}
    field = get_args(union)[0].__struct_config__.tag_field
    tag = value.get(field)
    if isinstance(tag, str) and tag in structs:
        yield from _walk_struct(value, structs[tag], path)
    else:
        known = ", ".join(sorted(structs))
        yield Fault(f"{path}.{field}", f"{tag!r} is not one of: {known}")


def _walk_struct(
    value: dict[str, object], struct: type[msgspec.Struct], path: str
) -> Iterator[Fault]:
    config = struct.__struct_config__
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    if config.tag_field is not None:
        tag = value.get(config.tag_field)
        if tag != config.tag:
            yield Fault(f"{path}.{config.tag_field}", f"{tag!r} is not {config.tag!r}")
    for name, field in fields.items():
        if name in value:
            yield from _walk(value[name], field.type, f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", "is missing")
    for name in value:
        if name not in fields and name != config.tag_field:
            known = ", ".join(sorted(fields))
            yield Fault(f"{path}.{name}", f"is not known here (known: {known})")


def _check(value: object, expected: Any, path: str, suffix: str = "") -> Iterator[Fault]:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        problem, _, inner = str(error).partition(" - at `$")
        yield Fault(path + inner.rstrip("`"), problem + suffix)
