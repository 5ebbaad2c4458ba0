"""What can be wrong with data from outside, as values and as exceptions."""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a document: where it is and what to do about it."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class InvalidDocumentError(ValueError):
    """A document that is refused whole, with every fault found in it."""

    def __init__(self, what: str, faults: list[Fault]) -> None:
        self.what = what
        self.faults = faults
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{what} has {len(faults)} fault(s):\n{lines}")


class UnknownSchemaVersionError(ValueError):
    """A message or state value of a schema version that this release does not read."""

    def __init__(self, what: str, found: object, readable: tuple[int, ...]) -> None:
        known = ", ".join(map(str, readable))
        super().__init__(
            f"{what}: schema version {found!r} is not readable here (readable: {known})"
        )
        self.found = found
