"""The section of a configuration that says where labels come from: the keys depend on its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from uncv.config.section import Positive, PositiveInt, Section


class OracleSection(Section):
    """What all oracles have in common."""

    max_force_ev_per_angstrom: Positive | None = Field(
        default=30.0, description="a frame with a larger force on an atom counts as failed"
    )
    reuse_labels: bool = Field(
        default=True, description="look a frame up among earlier labels before it is computed"
    )


class ForceFieldOracleConfig(OracleSection):
    """A force field in OpenMM; needs a structure with residues and bonds (PDB)."""

    kind: Literal["openmm_forcefield"] = "openmm_forcefield"
    force_field: tuple[str, ...] = Field(
        default=("amber14/protein.ff14SB.xml",), description="files as for openmm.app.ForceField"
    )
    reuse_labels: bool = Field(default=False, description="quicker to compute than to look up")


class XTBOracleConfig(OracleSection):
    """Extended tight binding by tblite: molecules, and cells with stress."""

    kind: Literal["xtb"] = "xtb"
    method: Literal["GFN2-xTB", "GFN1-xTB"] = "GFN2-xTB"
    charge: int = Field(default=0, description="total, in e")
    multiplicity: PositiveInt = Field(default=1, description="2S + 1")
    accuracy: Positive = Field(default=1.0, description="factor of convergence thresholds")
    electronic_temperature_k: Positive = 300.0
    max_iterations: PositiveInt = 250
    threads: PositiveInt = Field(default=1, description="of one calculation")


class PySCFOracleConfig(OracleSection):
    """Density-functional theory of molecules by PySCF."""

    kind: Literal["pyscf"] = "pyscf"
    functional: str = Field(default="pbe", description="as PySCF calls it; hf for Hartree-Fock")
    basis: str = Field(default="def2-svp", description="as PySCF calls it")
    dispersion: Literal["d3bj", "d4"] | None = None
    charge: int = Field(default=0, description="total, in e")
    multiplicity: PositiveInt = Field(default=1, description="2S + 1")
    energy_tolerance_hartree: Positive = 1e-9
    max_cycles: PositiveInt = 100
    grid_level: Annotated[int, Field(ge=0, le=9)] = 3
    density_fit: bool = Field(default=False, description="fit Coulomb integrals")
    threads: PositiveInt = Field(default=1, description="of one calculation")


class AseOracleConfig(OracleSection):
    """A calculator of ASE."""

    kind: Literal["ase"] = "ase"
    calculator: str = Field(
        description="package.module.Class, called with the arguments; or file.py:name or "
        "package.module:name, called with the ase.Atoms of a structure first"
    )
    arguments: dict[str, Any] = Field(default={}, description="keyword arguments")
    made_for: Literal["start", "frame"] = Field(
        default="start",
        description="start: made once, with a colon for the start structure; frame: made for each "
        "frame anew",
    )
    level_of_theory: str | None = Field(
        default=None, description="by default class and arguments of the calculator"
    )
    stress: bool | None = Field(default=None, description="by default where it can")


class PotentialOracleConfig(OracleSection):
    """A trained potential as the teacher."""

    kind: Literal["potential"] = "potential"
    path: str = Field(description="file of a potential, or ani1x")
    reuse_labels: bool = Field(default=False, description="quicker to compute than to look up")


class CommandOracleConfig(OracleSection):
    """A program that reads extended XYZ and writes it back with labels."""

    kind: Literal["command"] = "command"
    command: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="program and arguments, with {input} and {output} among them"
    )
    level_of_theory: str = Field(description="what the labels are")
    software: str = Field(default="", description="name and version of the program")
    timeout_s: Positive = Field(default=3600.0, description="for each frame of a run")
    frames_at_once: PositiveInt = Field(default=1, description="for one run of the program")


def _oracle_kind(value: Any) -> str:
    if isinstance(value, dict):
        return value.get("kind", "openmm_forcefield")
    return getattr(value, "kind", "")


OracleConfig = Annotated[
    Annotated[ForceFieldOracleConfig, Tag("openmm_forcefield")]
    | Annotated[XTBOracleConfig, Tag("xtb")]
    | Annotated[PySCFOracleConfig, Tag("pyscf")]
    | Annotated[AseOracleConfig, Tag("ase")]
    | Annotated[PotentialOracleConfig, Tag("potential")]
    | Annotated[CommandOracleConfig, Tag("command")],
    Discriminator(_oracle_kind),
]
"""Where labels come from: the keys that ``kind`` allows."""

ORACLE_SECTIONS: dict[str, type[OracleSection]] = {
    "openmm_forcefield": ForceFieldOracleConfig,
    "xtb": XTBOracleConfig,
    "pyscf": PySCFOracleConfig,
    "ase": AseOracleConfig,
    "potential": PotentialOracleConfig,
    "command": CommandOracleConfig,
}


def oracle_beside(given: OracleConfig, folder: str | Path) -> OracleConfig:
    """Return a section with the files that lie in a folder made absolute.

    A configuration may name them as they lie beside it, wherever it is read from.
    """
    place = Path(folder)
    if isinstance(given, ForceFieldOracleConfig):
        files = tuple(_beside(name, place) for name in given.force_field)
        return given.model_copy(update={"force_field": files})
    if isinstance(given, PotentialOracleConfig):
        return given.model_copy(update={"path": _beside(given.path, place)})
    if isinstance(given, CommandOracleConfig):
        words = tuple(_beside(word, place) for word in given.command)
        return given.model_copy(update={"command": words})
    if isinstance(given, AseOracleConfig) and ":" in given.calculator:
        file, _, name = given.calculator.rpartition(":")
        return given.model_copy(update={"calculator": f"{_beside(file, place)}:{name}"})
    return given


def _beside(name: str, folder: Path) -> str:
    path = folder / name
    return str(path.resolve()) if path.is_file() else name
