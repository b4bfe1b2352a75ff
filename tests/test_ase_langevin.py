"""The integrator of crystals: its ensemble, its limits, masses."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.integrate import quad

from uncv.ase import (
    CellError,
    CellLimits,
    CrystalLangevin,
    LangevinSettings,
    repartitioned,
    thermal_momenta,
)
from uncv.errors import DataError

KT = units.kB * 300.0
VOLUME, BULK, SHEAR, PRESSURE = 240.0, 60 * KT, 30 * KT, KT / 30.0


class ElasticCell(Calculator):
    """Free atoms in a cell of energy κ/2 ln²(V/V₀) + μ |H'|², H' Hencky's strain's deviator."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, cell):
        super().__init__()
        self.inverse = np.linalg.inv(cell)

    def strain(self, cell):
        stretch = (self.inverse @ cell).T
        squares, axes = np.linalg.eigh(stretch @ stretch.T)
        hencky = (axes * (0.5 * np.log(squares))) @ axes.T
        trace = np.trace(hencky)
        return trace, hencky - trace / 3.0 * np.eye(3)

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms)
        trace, deviator = self.strain(atoms.cell.array)
        stress = (BULK * trace * np.eye(3) + 2.0 * SHEAR * deviator) / atoms.get_volume()
        self.results = {
            "energy": 0.5 * BULK * trace**2 + SHEAR * (deviator**2).sum(),
            "forces": np.zeros((len(atoms), 3)),
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


def moments(atoms):
    """Mean and spread of V: p(V) ∝ V^N exp(−(U(V) + PV)/kT), whether or not the shape moves."""

    def weight(v):
        return np.exp(
            atoms * np.log(v / VOLUME) - (0.5 * BULK * np.log(v / VOLUME) ** 2 + PRESSURE * v) / KT
        )

    whole = quad(weight, 60, 700)[0]
    first = quad(lambda v: v * weight(v), 60, 700)[0]
    second = quad(lambda v: v * v * weight(v), 60, 700)[0]
    return first / whole, np.sqrt(second / whole - (first / whole) ** 2)


def elastic(random, atoms=8):
    cell = np.eye(3) * VOLUME ** (1 / 3)
    made = Atoms(["Ar"] * atoms, positions=random.random((atoms, 3)) @ cell, cell=cell, pbc=True)
    made.calc = ElasticCell(cell)
    made.set_momenta(thermal_momenta(made.get_masses(), 300.0, random))
    return made


def error_of(values, blocks=16):
    means = [block.mean() for block in np.array_split(np.asarray(values), blocks)]
    return np.std(means, ddof=1) / np.sqrt(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("isotropic", [True, False])
def test_volume_shape_and_temperature_have_their_exact_distribution(isotropic):
    random = np.random.default_rng(1)
    atoms = elastic(random)
    settings = LangevinSettings(
        300.0, 4.0, 80.0, PRESSURE / units.GPa, isotropic=isotropic, barostat_time=100.0
    )
    dynamics = CrystalLangevin(atoms, settings, random)
    volumes, temperatures, shapes = [], [], []
    for step in range(4000):
        dynamics.step()
        if step >= 500 and step % 5 == 0:
            volumes.append(atoms.get_volume())
            temperatures.append(atoms.get_temperature())
            shapes.append((atoms.calc.strain(atoms.cell.array)[1] ** 2).sum() * SHEAR / KT)
    mean, spread = moments(len(atoms))
    assert abs(np.mean(volumes) - mean) < 4 * error_of(volumes)
    assert error_of(volumes) < 0.02 * mean
    assert np.std(volumes) == pytest.approx(spread, rel=0.15)
    assert abs(np.mean(temperatures) - 300.0) < 4 * error_of(temperatures)
    assert error_of(temperatures) < 15.0
    if isotropic:
        np.testing.assert_allclose(shapes, 0.0, atol=1e-20)
    else:  # five quadratic degrees of freedom
        assert np.mean(shapes) == pytest.approx(2.5, rel=0.2)
        stretch = np.linalg.inv(elastic(random).cell.array) @ atoms.cell.array
        np.testing.assert_allclose(stretch, stretch.T, atol=1e-9)


def test_noise_is_that_of_the_generator():
    def volume(seed):
        random = np.random.default_rng(seed)
        atoms = elastic(random)
        dynamics = CrystalLangevin(atoms, LangevinSettings(300.0, 4.0, 80.0, 0.1), random)
        for _ in range(5):
            dynamics.step()
        return atoms.get_volume()

    assert volume(0) == volume(0) != volume(1)


def test_without_a_pressure_the_cell_stays():
    random = np.random.default_rng(0)
    atoms = elastic(random)
    dynamics = CrystalLangevin(atoms, LangevinSettings(300.0, 4.0, 20.0), random)
    before = atoms.cell.array.copy()
    temperatures = []
    for _ in range(600):
        dynamics.step()
        temperatures.append(atoms.get_temperature())
    np.testing.assert_array_equal(atoms.cell.array, before)
    assert abs(np.mean(temperatures) - 300.0) < 4 * error_of(temperatures) < 60.0


def advance(atoms, settings, random, limits, seen):
    """Take steps until something happens, noting the volumes before each."""
    dynamics = CrystalLangevin(atoms, settings, random, limits)
    for _ in range(200):
        seen.append(atoms.get_volume())
        dynamics.step()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (CellLimits((200.0, 241.0), 1.0), "limits are 200 and 241 Å"),
        (CellLimits((1.0, 1e4), 6.3), r"the cell is 6.2\d* Å high, the limit is 6.3 Å"),
    ],
)
def test_limits_are_looked_at_before_the_structure_is_evaluated(limits, message):
    random = np.random.default_rng(0)
    atoms = elastic(random)
    expanding = LangevinSettings(300.0, 4.0, 80.0, -5.0)
    seen = []
    with pytest.raises(CellError, match=message):
        advance(atoms, expanding, random, limits, seen)
    if limits.height < 2.0:
        assert seen[-1] <= 241.0 < atoms.get_volume()
    else:
        assert not seen


def test_a_cell_that_runs_away_is_stopped():
    random = np.random.default_rng(0)
    atoms = elastic(random)
    wild = LangevinSettings(300.0, 20.0, 80.0, -300.0, barostat_time=30.0)
    with pytest.raises(CellError, match="changes by a strain of"):
        advance(atoms, wild, random, None, [])
    atoms.positions[0, 0] = np.nan
    with pytest.raises(CellError, match="not finite"):
        CrystalLangevin(atoms, LangevinSettings(300.0, 1.0, 80.0), random)


def test_heavy_hydrogens_take_mass_from_their_neighbours_through_the_cell():
    atoms = molecule("CH3OH", cell=[4.0, 4.0, 4.0], pbc=True)
    atoms.positions -= atoms.positions[0]  # C at the corner: its hydrogens are in other images
    atoms.wrap()
    masses = repartitioned(atoms, 3.0)
    before = atoms.get_masses()
    assert masses.sum() == pytest.approx(before.sum())
    assert masses[atoms.numbers == 1].tolist() == [3.0] * 4
    light = before[atoms.numbers == 1][0]
    given = {6: 3 * (3.0 - light), 8: 3.0 - light}
    for z, lost in given.items():
        assert before[atoms.numbers == z] - masses[atoms.numbers == z] == pytest.approx(lost)
    with pytest.raises(DataError, match=r"atom 0 would keep .* beside hydrogens of 4.2"):
        repartitioned(atoms, 4.2)
    with pytest.raises(DataError, match="hydrogen 0 is bonded to no heavy atom"):
        repartitioned(molecule("H2"), 2.0)
    copper = bulk("Cu")
    np.testing.assert_array_equal(repartitioned(copper, 3.0), copper.get_masses())


def test_momenta_are_thermal_and_sum_to_zero():
    masses = np.tile([1.0, 12.0, 63.0], 4000)
    momenta = thermal_momenta(masses, 500.0, np.random.default_rng(0))
    np.testing.assert_allclose(momenta.sum(axis=0), 0.0, atol=1e-9)
    energies = (momenta**2).sum(axis=1) / masses / (3 * units.kB)
    for mass in (1.0, 12.0, 63.0):
        assert energies[masses == mass].mean() == pytest.approx(500.0, rel=0.05)
