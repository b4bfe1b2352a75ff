"""The sections of a configuration that say what is learnt: the system and its first labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from uncv.config.section import Positive, PositiveInt, Section

Torsion = tuple[int, int, int, int]


class SystemConfig(Section):
    """What moves, what is known of it, and what is watched."""

    structure: str = Field(
        default="alanine_dipeptide",
        description="path of a structure: a PDB file, or any that ASE reads (xyz, extxyz, cif, "
        "POSCAR); or the name of a structure that uncv ships",
    )
    periodic: bool = Field(
        default=False, description="keep the cell of the file; without, a molecule in vacuum"
    )
    torsions: tuple[Torsion, ...] = Field(
        default=(),
        description="0-based atoms of the torsions whose coverage is followed; with the shipped "
        "alanine dipeptide φ and ψ by default",
    )
    volume_range_angstrom3: tuple[Positive, Positive] | None = Field(
        default=None,
        description="range of cell volumes whose coverage is followed, in place of torsions",
    )
    labelled_data: str | None = Field(
        default=None,
        description="labelled frames to begin with, in place of displaced start structures; they "
        "count as labels",
    )
    test_data: str | None = Field(
        default=None,
        description="labelled frames that are never trained on; errors on them are recorded in "
        "each round",
    )

    @model_validator(mode="after")
    def _watched(self) -> SystemConfig:
        given = self.volume_range_angstrom3
        if given is None:
            return self
        if not self.periodic:
            raise ValueError("volume_range_angstrom3 needs a cell; set periodic: true")
        if self.torsions:
            raise ValueError("give torsions or volume_range_angstrom3, whose coverage is followed")
        if given[0] >= given[1]:
            raise ValueError(f"volume_range_angstrom3 is {given}; expected the smaller one first")
        return self


class BudgetConfig(Section):
    """When the campaign ends, and how it begins."""

    labels: PositiveInt = Field(
        default=160, description="labelled frames in the end, the first included"
    )
    initial_labels: PositiveInt = Field(
        default=16, description="displaced start structures; none are made with labelled_data"
    )
    initial_displacements_angstrom: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(0.02, 0.08),
        description="standard deviations of the Gaussian displacements of the start structure, "
        "taken in turn: half of the first frames lie near it, half further away",
    )
    initial_strain: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        default=None,
        description="largest component of the random strain of the first frames, with a cell",
    )

    @model_validator(mode="after")
    def _enough(self) -> BudgetConfig:
        if self.labels < self.initial_labels:
            raise ValueError(
                f"labels is {self.labels}, less than initial_labels ({self.initial_labels}); "
                "give a larger budget"
            )
        return self
