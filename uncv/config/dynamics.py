"""The sections of a configuration that say how walkers move, and when they stop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from uncv.config.section import Positive, PositiveInt, Section


class SamplingConfig(Section):
    """The dynamics of each round."""

    engine: Literal["auto", "openmm", "ase"] = Field(
        default="auto",
        description="ase for crystals, one walker after the other, at constant volume or pressure; "
        "openmm for everything else, all walkers of a group at once",
    )
    temperature_k: Positive = Field(default=300.0, description="of the thermostat")
    temperature_end_k: Positive | None = Field(
        default=None, description="where a schedule leads to, from temperature_k"
    )
    temperature_schedule: Literal["constant", "ramp", "saw_tooth"] = "constant"
    temperature_schedule_steps: PositiveInt | None = Field(
        default=None, description="length of the ramp or of a tooth"
    )
    pressure_gpa: float | None = Field(
        default=None,
        description="constant pressure, compressing if positive; constant volume without",
    )
    cell: Literal["full", "isotropic"] = Field(
        default="full", description="what pressure changes: lengths and angles, or the size alone"
    )
    thermostat_time_fs: Positive = Field(default=100.0, description="of the engine ase")
    barostat_time_fs: Positive = Field(default=500.0, description="of the engine ase")
    timestep_fs: Positive = Field(
        default=1.0, description="0.5 where hydrogens have their own mass"
    )
    friction_per_ps: Positive = Field(default=2.0, description="of the engine openmm")
    hydrogen_mass_amu: Positive | None = Field(
        default=4.0,
        description="taken from the atoms that hydrogens are bonded to; null leaves all masses",
    )
    walkers: PositiveInt = Field(default=8, description="copies that run at the same time")
    steps_per_round: PositiveInt = Field(
        default=1000,
        description="steps of each walker; restarts of stopped walkers come out of them",
    )
    stride: PositiveInt = Field(default=25, description="steps between stored frames")
    plumed: str | None = Field(
        default=None,
        description="PLUMED input that acts in each round anew; the uncertainty is "
        "EXTRACV NAME=uncertainty",
    )

    @model_validator(mode="after")
    def _consistent(self) -> SamplingConfig:
        scheduled = self.temperature_schedule != "constant"
        given = (self.temperature_end_k, self.temperature_schedule_steps)
        if scheduled != all(v is not None for v in given) or scheduled != any(
            v is not None for v in given
        ):
            raise ValueError(
                f"temperature_schedule is {self.temperature_schedule} with temperature_end_k "
                f"{given[0]} and temperature_schedule_steps {given[1]}; give both for a ramp or "
                "saw_tooth, and only then"
            )
        if self.pressure_gpa is not None and self.engine == "openmm":
            raise ValueError("pressure_gpa is for the engine ase; leave engine out")
        return self


class StopConfig(Section):
    """Limits past which a walker is stopped and restarted."""

    max_uncertainty: Positive | None = Field(
        default=None, description="in eV for an energy uncertainty, eV/Å for forces"
    )
    max_atomic_uncertainty: Positive | None = Field(
        default=None, description="the same, of any atom"
    )
    min_distance_factor: Positive | None = Field(
        default=0.65, description="of the sum of covalent radii"
    )
    min_contact_factor: Positive | None = Field(
        default=1.3, description="the same, of atoms that are not bonded at the start"
    )
    max_bond_factor: Positive | None = Field(default=1.5, description="of the length at the start")
    max_force_ev_per_angstrom: Positive | None = Field(
        default=30.0, description="on any atom, by the potential"
    )
    volume_limits_angstrom3: tuple[Positive, Positive] | None = Field(
        default=None,
        description="smallest and largest cell at constant pressure; by default half of the start "
        "structure and three times as much",
    )

    @field_validator("volume_limits_angstrom3")
    @classmethod
    def _ordered(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and limits[0] >= limits[1]:
            raise ValueError(f"volume_limits_angstrom3 are {limits}; give the smaller one first")
        return limits
