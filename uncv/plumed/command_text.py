"""Names of PLUMED's commands whose bytes live as long as they are needed."""

from __future__ import annotations


class CommandText(str):
    """The name of a command that is given a text as its value.

    PLUMED's Python module (hillclimber 0.1.8) keeps the address of the name's bytes and a zero, and
    lets them go when it encodes the value, before PLUMED reads them. What PLUMED then
    finds is chance: as a rule the name still, at times an empty one ("cannot interpret cmd()").
    Here the name itself holds on to the bytes.
    """

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes, which stay alive, together with their sum, as long as the name."""
        self._bytes = _KeepsItsSum(super().encode(encoding, errors))
        return self._bytes


class _KeepsItsSum(bytes):
    def __add__(self, other: bytes) -> bytes:  # type: ignore[override]
        self._sum = bytes(self) + other
        return self._sum
