"""Periodic systems: small and skewed cells, supercells, barostats of OpenMM on E + V(u)."""

from __future__ import annotations

import warnings
from typing import Any

import contracts
import numpy as np
import openmm
import pytest
import tiny
import torch
from openmm import app

import uncv.openmm as engine
from uncv.bias import HarmonicBias, LinearBias
from uncv.cv import UncertaintyCV
from uncv.protocols import MemberOutput
from uncv.uncertainty import EnsembleUncertainty
from uncv.units import EV_IN_KJ_PER_MOL, KB_IN_EV_PER_K

KT = KB_IN_EV_PER_K * 300.0
BAR = 0.0602214076e-3 / EV_IN_KJ_PER_MOL  # eV/Å^3
PARTICLES, PRESSURE = 40, 300.0  # bar


CELLS = {
    "triclinic, below the cutoff": [[3.1, 0.0, 0.0], [0.9, 4.2, 0.0], [-0.7, 1.1, 5.0]],
    "below half the cutoff": [[1.7, 0.0, 0.0], [0.3, 4.4, 0.0], [0.2, -0.5, 6.1]],
    "hexagonal": [[4.9, 0.0, 0.0], [-2.45, 4.2435, 0.0], [0.0, 0.0, 5.4]],
    "rhombohedral, acute": [[4.0, 0.0, 0.0], [3.2, 2.4, 0.0], [3.2, 1.07, 2.15]],
}


def in_cell(cell, count=3):
    """A few atoms inside a cell, apart from each other and their images as far as it goes."""
    scaled = np.array([[0.05, 0.1, 0.08], [0.5, 0.45, 0.4], [0.25, 0.75, 0.7]])[:count]
    return tiny.Dataset([6, 8, 1][:count], (scaled @ np.array(cell))[None], cell=cell)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_descriptor_in_a_small_cell_is_torchanis(cell):
    """TorchANI sums explicit images too, for atoms inside the cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optional CUDA parts and of pkg_resources
        import torchani
    own = tiny.AEV
    etas = [torch.tensor([value]) for value in (own.radial_eta, own.angular_eta, own.zeta)]
    computer = torchani.AEVComputer(
        own.radial_cutoff, own.angular_cutoff, etas[0], torch.tensor(own.radial_shifts), etas[1],
        etas[2], torch.tensor(own.angular_shifts), torch.tensor(own.angle_shifts), 4,
    ).double()  # fmt: skip
    potential, data = tiny.potential(), in_cell(cell)
    species = potential.species(torch.as_tensor(data.numbers))
    _, aev = computer(
        (species, torch.tensor(data.positions)), torch.tensor(data.cell[0]), torch.ones(3) > 0
    )
    found = potential.evaluate(data).features
    np.testing.assert_allclose(found, aev.numpy(), atol=2e-7 * float(aev.abs().max()))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("of", ["energy", "forces"])
def test_other_vectors_of_the_same_lattice_change_nothing(cell, of):
    """A unimodular change of the vectors makes the cell as skewed as one likes."""
    cv, data = tiny.cv(of), in_cell(cell)
    change = np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]])
    skewed = tiny.Dataset(data.numbers, data.positions, cell=change @ data.cell[0])
    one, two = cv.evaluate(data), cv.evaluate(skewed)
    assert np.abs(one.uncertainty_stress).max() > 1e-4
    contracts.same(one, two, 1e-8)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_forces_and_stress_of_a_small_cell_are_central_differences(cell):
    """With one atom alone, too, which sees nothing but its own images."""
    cv = tiny.cv("atomic_energy")
    for count in (1, 3):
        data = in_cell(cell, count)
        result, volume = cv.evaluate(data), np.linalg.det(data.cell[0])

        def moved(x, data=data):
            return contracts.values(cv, tiny.Dataset(data.numbers, x, cell=data.cell))

        def strained(strain, data=data):
            scale = np.eye(3) + 0.5 * (strain + strain.T)
            frame = tiny.Dataset(data.numbers, data.positions @ scale, cell=data.cell @ scale)
            return contracts.values(cv, frame)

        slope = tiny.central_differences(strained, np.zeros((3, 3)), 1e-5) / volume
        for index, found in enumerate((result.stress[0], result.uncertainty_stress[0])):
            expected = slope[..., index]
            np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
        slope = tiny.central_differences(moved, data.positions, 3e-5)
        scale = np.abs(slope).max(axis=(0, 1, 2)) if count > 1 else np.ones(2)
        for index, found in enumerate((-result.forces, result.uncertainty_gradient)):
            np.testing.assert_allclose(found, slope[..., index], atol=1e-6 * scale[index])


EXTENSIVE = ("energy", "atomic energy, sum", "mixture, diagonal")
"""Cases whose u grows with the number of atoms: the std of a frame's energy, and every sum."""


@pytest.mark.parametrize("case", contracts.UNCERTAINTIES, ids=lambda c: c.name)
def test_uncertainty_of_a_supercell(case):
    """n cells have n times the energy, and n times the u of a sum or once that of a mean."""
    assert (case.name in EXTENSIVE) == (case.reduce == "sum" or case.name == "energy")
    cv, one = contracts.fitted(case), tiny.crystal()
    positions = np.concatenate([one.positions, one.positions + one.cell[:, :1]], axis=1)
    vectors = one.cell * np.array([[2.0], [1.0], [1.0]])
    two = tiny.Dataset(np.tile(one.numbers, 2), positions, cell=vectors)
    small, large = cv.evaluate(one), cv.evaluate(two)
    factor = 2.0 if case.name in EXTENSIVE else 1.0
    np.testing.assert_allclose(large.energy, 2 * small.energy, rtol=1e-10)
    np.testing.assert_allclose(large.stress, small.stress, atol=1e-12)
    np.testing.assert_allclose(large.uncertainty, factor * small.uncertainty, rtol=1e-8)
    # u of a mean is shared by twice the atoms: its gradient by each is half as long.
    for name, share in (("forces", 1.0), ("uncertainty_gradient", factor / 2.0)):
        expected = share * np.tile(getattr(small, name), (1, 2, 1))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(getattr(large, name), expected, atol=1e-7 * scale)
    expected = factor / 2.0 * small.uncertainty_stress
    np.testing.assert_allclose(
        large.uncertainty_stress, expected, atol=1e-7 * np.abs(expected).max()
    )
    if cv.uncertainty.per_atom:
        atomic = np.tile(small.atomic_uncertainty, (1, 2))
        np.testing.assert_allclose(large.atomic_uncertainty, atomic, rtol=1e-8)


@pytest.mark.parametrize("backend", ["python", "torchforce"])
def test_openmm_takes_a_triclinic_cell_below_the_cutoff(backend):
    """E + V(u) and its forces, with atoms outside of the cell."""
    data, cv, bias = tiny.crystal(), tiny.cv(), HarmonicBias(3.0, 0.1)
    topology = tiny.topology(data, data.cell[0] / 10.0)
    system = engine.create_system(topology, cv, bias=bias, backend=backend)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(data.positions[0] / 10.0)
    state = context.getState(energy=True, forces=True)
    result = cv.evaluate(data)
    away = float(result.uncertainty[0]) - 0.1
    energy = state.getPotentialEnergy()._value / EV_IN_KJ_PER_MOL
    assert energy == pytest.approx(result.energy[0] + 1.5 * away**2, rel=1e-8)
    expected = result.forces[0] - 3.0 * away * result.uncertainty_gradient[0]
    forces = state.getForces(asNumpy=True)._value / (10.0 * EV_IN_KJ_PER_MOL)
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())


class OfTheCell(tiny.AniPotential):
    """Two members whose energies depend on the cell alone: E = mean(cell) ± u(cell)/√2.

    The standard deviation of two values is their difference over √2, so u is what is given.
    """

    def __init__(self, mean, uncertainty) -> None:
        super().__init__(tiny.potential(2).settings)
        self.mean, self.of = mean, uncertainty

    def prepare(self, batch: Any, skin: float = 0.0) -> None:
        return None

    def forward(self, batch: Any, prepared: Any = None, *, extra: str = "") -> MemberOutput:
        nothing = 0.0 * batch.positions.sum(dim=(1, 2))
        mean = self.mean(batch.cell) + nothing
        half = (self.of(batch.cell) + nothing) / np.sqrt(2.0)
        zero = torch.zeros(2, *batch.numbers.shape)
        return MemberOutput(torch.stack([mean + half, mean - half]), zero, zero[0, ..., None])


def particles(potential, bias, barostat, lengths):
    """Atoms far apart in a box: an ideal gas but for what depends on the cell. Lengths in Å."""
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(PARTICLES):
        topology.addAtom("C", app.Element.getByAtomicNumber(6), topology.addResidue("C", chain))
    topology.setUnitCellDimensions(np.array(lengths) / 10.0)
    cv = UncertaintyCV(potential, EnsembleUncertainty())
    system = engine.create_system(topology, cv, bias=bias)
    barostat.setRandomNumberSeed(5)
    system.addForce(barostat)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(1e-6), platform)
    random = np.random.default_rng(1)
    context.setPositions(random.uniform(size=(PARTICLES, 3)) * lengths / 10.0)
    return context


def boxes(context, steps):
    """The cell after each step (steps, 3, 3), Å."""
    found = []
    for _ in range(steps):
        context.getIntegrator().step(1)
        found.append(context.getState().getPeriodicBoxVectors(asNumpy=True)._value)
    return 10.0 * np.array(found)


def check(sampled, grid, log_weight):
    """Mean within four standard errors of blocks, and spread, of a known distribution."""
    weight = np.exp(log_weight - log_weight.max())
    mean = (weight * grid).sum() / weight.sum()
    spread = np.sqrt((weight * (grid - mean) ** 2).sum() / weight.sum())
    blocks = sampled.reshape(10, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(10)
    assert error < 0.3 * spread
    assert abs(sampled.mean() - mean) < 4 * error
    assert sampled.std() == pytest.approx(spread, rel=0.2)
    return mean, error


@pytest.mark.slow
@pytest.mark.parametrize("bias", [LinearBias(0.3), HarmonicBias(4.0, 1.2)], ids=repr)
def test_monte_carlo_barostat_samples_energy_and_bias(bias):
    """P(V) ∝ V^N exp(−(pV + E(V) + V(u(V)))/k_BT) with E and u linear in the volume."""
    potential = OfTheCell(
        lambda cell: 5e-5 * torch.linalg.det(cell), lambda cell: torch.linalg.det(cell) / 5000.0
    )
    barostat = openmm.MonteCarloBarostat(PRESSURE, 300.0, 1)
    context = particles(potential, bias, barostat, [17.0] * 3)
    sampled = np.linalg.det(boxes(context, 2300))[300:]
    volume = np.linspace(500.0, 20000.0, 20000)
    log = PARTICLES * np.log(volume) - (PRESSURE * BAR + 5e-5) * volume / KT
    unbiased = np.average(volume, weights=np.exp(log - log.max()))
    energy = bias.energy_and_slope(torch.tensor(volume / 5000.0))[0].numpy()
    mean, error = check(sampled, volume, log - energy / KT)
    assert abs(unbiased - mean) > 8 * error


@pytest.mark.slow
def test_anisotropic_barostat_samples_energy_and_bias():
    """One length moves: P(L) ∝ L^N exp(−(p A L + E(L) + V(u(L)))/k_BT)."""
    potential = OfTheCell(lambda cell: 0.015 * cell[:, 0, 0], lambda cell: 0.05 * cell[:, 0, 0])
    barostat = openmm.MonteCarloAnisotropicBarostat([PRESSURE] * 3, 300.0, True, False, False, 1)
    context = particles(potential, LinearBias(0.3), barostat, [17.0, 20.0, 15.0])
    sampled = boxes(context, 1100)[100:]
    np.testing.assert_allclose(sampled[:, [1, 2], [1, 2]], np.full((1000, 2), [20.0, 15.0]))
    length = np.linspace(1.0, 80.0, 20000)
    log = PARTICLES * np.log(length) - (PRESSURE * BAR * 300.0 + 0.015) * length / KT
    unbiased = np.average(length, weights=np.exp(log - log.max()))
    mean, error = check(sampled[:, 0, 0], length, log + 0.3 * 0.05 * length / KT)
    assert abs(unbiased - mean) > 8 * error


@pytest.mark.slow
def test_flexible_barostat_samples_energy_and_bias():
    """The angle of the cell opens: E holds lengths and tilts by springs, u pulls at one tilt."""
    stiff = 0.15

    def springs(cell):
        return 0.5 * stiff * (cell - 20.0 * torch.eye(3)).square().sum(dim=(1, 2))

    potential = OfTheCell(springs, lambda cell: 10.0 + cell[:, 1, 0])
    barostat = openmm.MonteCarloFlexibleBarostat(1.0, 300.0, 1)
    context = particles(potential, LinearBias(0.3), barostat, [20.0] * 3)
    sampled = boxes(context, 1700)[200:]
    tilt = np.linspace(-6.0, 8.0, 4001)
    mean, error = check(sampled[:, 1, 0], tilt, -(0.5 * stiff * tilt**2 - 0.3 * tilt) / KT)
    assert mean == pytest.approx(2.0, rel=1e-3)
    assert mean > 8 * error
    check(sampled[:, 2, 1], tilt, -0.5 * stiff * tilt**2 / KT)
