"""The calculator of ASE: values, caching, dynamics, constant pressure, files, what is refused."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import ase.db
import ase.io
import contracts
import numpy as np
import pytest
import tiny
import tiny_morse
import torch
from ase import Atoms, units
from ase.build import add_adsorbate, fcc111, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.md import VelocityVerlet
from ase.md.langevin import Langevin
from ase.md.melchionna import MelchionnaNPT
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
from ase.md.nptberendsen import NPTBerendsen
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import fs

import uncv
from uncv.ase import UncertaintyCalculator, snapshot
from uncv.bias import (
    AdaptiveBias,
    CappedBias,
    ExtendedBias,
    HarmonicBias,
    LinearBias,
    ScheduledBias,
)
from uncv.calibration import GaussianCalibrator
from uncv.cv import UncertaintyCV
from uncv.errors import ElementError, EngineError, GradientError
from uncv.oracles import AseOracle
from uncv.schedule import Ramp
from uncv.step import FusedStep
from uncv.step_pass import DescriptorPass, GraphPass
from uncv.step_spread import SpreadPass
from uncv.uncertainty import EnsembleUncertainty

MODES = [("energy", "mean"), ("atomic_energy", "softmax"), ("forces", "rms")]
BIASES = [LinearBias(0.7), HarmonicBias(3.0, 0.2)]


def atoms_of(data, frame=0):
    """A frame as Atoms."""
    real = data.mask[frame]
    return Atoms(
        data.numbers[frame][real], data.positions[frame][real],
        cell=data.cell[frame], pbc=data.pbc[frame],
    )  # fmt: skip


def dataset_of(atoms):
    return tiny.Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array, pbc=atoms.pbc)


def both():
    """A molecule, and a triclinic cell shorter than the cutoff with atoms outside of it."""
    return [atoms_of(tiny.frames("CH3OH", seed=3)), atoms_of(tiny.crystal())]


def factor(value, kind="energy"):
    """A calibrator that multiplies u."""
    calibrator = GaussianCalibrator()
    calibrator.factor, calibrator.kind = value, kind
    return calibrator


def warm(atoms, temperature, seed):
    """Give the atoms momenta of this temperature in K."""
    random = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    atoms.set_momenta(random * np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None])


def counted(monkeypatch):
    """Count evaluations of the model and backward passes."""
    found = {"forward": 0, "backward": 0}
    forward = FusedStep.forward

    def forward_once(*args, **kwargs):
        found["forward"] += 1
        return forward(*args, **kwargs)

    def counting(backward):
        def backward_once(*args):
            found["backward"] += 1
            return backward(*args)

        return backward_once

    monkeypatch.setattr(FusedStep, "forward", forward_once)
    for kind in (SpreadPass, DescriptorPass, GraphPass):
        monkeypatch.setattr(kind, "gradients", counting(kind.gradients))
    return found


@pytest.mark.parametrize(("of", "reduce"), MODES)
@pytest.mark.parametrize("bias", [None, *BIASES], ids=repr)
def test_results_are_those_of_the_evaluation(of, reduce, bias):
    cv = tiny.cv(of, reduce, reference_energies=(-10.0, -20.0, -30.0, -40.0))
    for atoms in both():
        calc = atoms.calc = UncertaintyCalculator(cv, bias)
        result = cv.evaluate(dataset_of(atoms))
        u = torch.tensor(result.uncertainty)
        energy, slope = (0.0, 0.0) if bias is None else map(float, bias.energy_and_slope(u))
        assert atoms.get_potential_energy() == pytest.approx(result.energy[0] + energy, rel=1e-12)
        assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
        expected = result.forces[0] - slope * result.uncertainty_gradient[0]
        np.testing.assert_allclose(atoms.get_forces(), expected, atol=1e-9)
        values = {name: calc.get_property(name, atoms) for name in ("uncertainty", "bias")}
        assert values == pytest.approx({"uncertainty": float(u[0]), "bias": energy}, rel=1e-9)
        plain = calc.get_property("forces_unbiased", atoms)
        np.testing.assert_allclose(plain, result.forces[0], atol=1e-9)
        assert calc.get_property("energy_unbiased", atoms) == pytest.approx(result.energy[0])
        if of == "energy":
            with pytest.raises(PropertyNotImplementedError, match="atomic_uncertainty"):
                calc.get_property("atomic_uncertainty", atoms)
        else:
            atomic = calc.get_property("atomic_uncertainty", atoms)
            np.testing.assert_allclose(atomic, result.atomic_uncertainty[0], rtol=1e-8)
        if not atoms.pbc.any():
            with pytest.raises(PropertyNotImplementedError, match="stress not present"):
                atoms.get_stress()
            continue
        total = result.stress[0] + slope * result.uncertainty_stress[0]
        scale = np.abs(total).max()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), total, atol=1e-9 * scale)
        plain = full_3x3_to_voigt_6_stress(result.stress[0])
        found = calc.get_property("stress_unbiased", atoms)
        np.testing.assert_allclose(found, plain, atol=1e-9 * scale)


@pytest.mark.parametrize(
    ("of", "reduce", "bias"),
    [(*mode, LinearBias(0.7)) for mode in MODES]
    + [("energy", "mean", case.make()) for case in contracts.BIASES],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_forces_and_stress_are_central_differences_of_the_energy(of, reduce, bias):
    """By ASE's own differences, of the total and of the unbiased energy."""
    for atoms in both():
        cv = tiny.cv(of, reduce)
        calc = atoms.calc = UncertaintyCalculator(cv.calibrated(factor(20.0, cv.kind)), bias)
        slope = calculate_numerical_forces(atoms, eps=3e-5)
        assert np.abs(slope).max() > 1e-3
        np.testing.assert_allclose(atoms.get_forces(), slope, atol=1e-6 * np.abs(slope).max())
        if atoms.pbc.all():
            slope = calculate_numerical_stress(atoms, eps=1e-5)
            assert np.abs(slope).max() > 1e-4
            np.testing.assert_allclose(atoms.get_stress(), slope, atol=1e-6 * np.abs(slope).max())
            biased = atoms.get_stress() - calc.get_property("stress_unbiased", atoms)
            assert np.abs(biased).max() > 1e-4


def test_one_forward_and_one_backward_for_a_structure(monkeypatch):
    for atoms in both():
        atoms.calc = UncertaintyCalculator(tiny.cv(), LinearBias(0.5))
        atoms.get_forces()  # the first looks whether u has a gradient at all
        seen = counted(monkeypatch)
        for _ in range(3):
            atoms.rattle(0.01, seed=1)
            atoms.get_forces()
            atoms.get_potential_energy()
            if atoms.pbc.all():
                atoms.get_stress()
        assert seen == {"forward": 3, "backward": 3}
        monkeypatch.undo()


def test_nothing_is_computed_before_it_is_asked_for_nor_twice(monkeypatch):
    atoms = both()[1]
    calc = atoms.calc = UncertaintyCalculator(tiny.cv())
    seen = counted(monkeypatch)
    atoms.get_potential_energy()
    assert calc.get_property("uncertainty", atoms) > 0
    assert seen == {"forward": 1, "backward": 0}
    assert calc.get_property("forces", atoms, allow_calculation=False) is None
    atoms.get_stress()
    atoms.get_forces()
    assert seen == {"forward": 1, "backward": 1}
    calc.get_property("stress_unbiased", atoms)
    calc.get_property("forces_unbiased", atoms)
    atoms.set_initial_charges([1.0, 0, 0, 0])  # the model knows no charges
    assert not calc.calculation_required(atoms, ["energy", "forces"])
    atoms.get_forces()
    assert seen == {"forward": 1, "backward": 2}
    atoms.positions[0, 0] += 1e-9
    assert calc.calculation_required(atoms, ["energy"])
    atoms.get_potential_energy()
    atoms.set_cell(1.001 * atoms.cell.array)
    atoms.get_potential_energy()
    assert seen["forward"] == 3
    calc.calculate(atoms, ["energy", "forces"])
    assert seen["forward"] == 4
    calc.results.clear()
    atoms.get_forces()
    assert seen["forward"] == 5
    assert set(calc.results) >= {"energy", "forces", "stress", "uncertainty"}


def test_results_can_be_changed_by_their_owner():
    atoms = both()[0]
    atoms.calc = UncertaintyCalculator(tiny.cv("atomic_energy"))
    atoms.get_forces()[:] = 0.0
    assert np.abs(atoms.get_forces()).max() > 1e-3


def test_one_calculator_serves_atoms_that_change():
    calc = UncertaintyCalculator(tiny.cv(), LinearBias(0.5))
    atoms = molecule("CH3OH")
    changed = [atoms, molecule("NH3"), both()[1], atoms]
    swapped = atoms.copy()
    swapped.numbers[1] = 7
    shorter = atoms.copy()
    del shorter[-1]
    boxed = atoms.copy()
    boxed.set_cell(4.0 * np.eye(3))
    boxed.pbc = True
    for one in [*changed, swapped, shorter, boxed, atoms]:
        fresh = UncertaintyCalculator(calc.cv, calc.bias)
        assert calc.get_potential_energy(one) == pytest.approx(fresh.get_potential_energy(one))
        np.testing.assert_allclose(calc.get_forces(one), fresh.get_forces(one), atol=1e-12)
    atoms.calc = calc
    before = atoms.get_potential_energy()
    atoms += Atoms("H", [[3.0, 0.0, 0.0]])
    assert len(atoms.get_forces()) == 7
    assert atoms.get_potential_energy() != pytest.approx(before)


def test_a_slab_has_forces_and_no_stress():
    slab = both()[1]
    slab.pbc = (True, False, True)
    slab.calc = UncertaintyCalculator(tiny.cv(), LinearBias(0.5))
    slope = calculate_numerical_forces(slab, eps=3e-5)
    np.testing.assert_allclose(slab.get_forces(), slope, atol=1e-6 * np.abs(slope).max())
    full = slab.copy()
    full.pbc = True
    assert abs(slab.calc.get_potential_energy(full) - slab.get_potential_energy()) > 1e-4
    with pytest.raises(PropertyNotImplementedError, match="stress not present"):
        slab.get_stress()
    slab.cell[1] = 0.0
    np.testing.assert_allclose(slab.get_forces(), slope, atol=1e-6 * np.abs(slope).max())


def test_pressure_has_ases_sign():
    """Compressed copper pushes outwards: its pressure −tr(σ)/3 is positive."""
    atoms = tiny_morse.crystal(0.0)
    atoms.calc = UncertaintyCalculator(tiny_morse.cv())
    for factor, sign in ((0.94, 1), (1.06, -1)):
        atoms.set_cell(factor * tiny_morse.crystal().cell.array, scale_atoms=True)
        reference = atoms.copy()
        reference.calc = EMT()
        assert np.sign(-atoms.get_stress()[:3].sum()) == sign
        assert np.sign(-reference.get_stress()[:3].sum()) == sign


def test_nve_conserves_energy_with_the_bias():
    """What is not conserved falls with the square of the time step, as it must."""
    spreads, biases = [], []
    for step in (2.0, 1.0):
        atoms = tiny_morse.crystal(0.1)
        atoms.calc = UncertaintyCalculator(tiny_morse.cv(), LinearBias(1.0))
        warm(atoms, 300, seed=1)
        dynamics = VelocityVerlet(atoms, timestep=step * fs)
        totals = []
        for _ in range(25):
            dynamics.run(int(8 / step))
            totals.append(atoms.get_total_energy())
            biases.append(atoms.calc.results["bias"])
        spreads.append(np.ptp(totals))
    assert np.ptp(biases) > 0.02
    assert spreads[1] < 0.3 * spreads[0]
    assert spreads[1] < 0.01 * np.ptp(biases)


@pytest.mark.parametrize("kind", [MTKNPT, IsotropicMTKNPT, MelchionnaNPT])
def test_constant_pressure_conserves_its_own_energy(kind):
    """With the bias in the stress; the same quantity is not conserved where it is left out."""
    spreads, volumes = [], []
    for whole in (True, False):
        atoms = tiny_morse.crystal(0.05, seed=2)
        make = UncertaintyCalculator if whole else WithoutBiasStress
        atoms.calc = make(tiny_morse.cv(), LinearBias(1.5))
        warm(atoms, 300, seed=1)
        dynamics, conserved = constant_pressure(kind, atoms)
        values = []
        for _ in range(30):
            dynamics.run(4)
            values.append(conserved())
            volumes.append(atoms.get_volume())
        spreads.append(np.ptp(values))
    assert np.ptp(volumes) > 1.0
    assert spreads[0] < 0.005
    assert spreads[1] > 10 * spreads[0]


class WithoutBiasStress(UncertaintyCalculator):
    """Forces of E + V, stress of E alone."""

    def get_stress(self, atoms=None):
        return self.get_property("stress_unbiased", atoms)


def constant_pressure(kind, atoms):
    if kind is MelchionnaNPT:
        atoms.set_cell(atoms.cell.standard_form()[0].array, scale_atoms=True)
        atoms.set_cell(np.diag(np.diag(atoms.cell.array)), scale_atoms=True)
        dynamics = MelchionnaNPT(
            atoms, fs, temperature_K=300, externalstress=0.0, ttime=25 * fs,
            pfactor=(40 * fs) ** 2 * 0.9,
        )  # fmt: skip
        return dynamics, dynamics.get_gibbs_free_energy
    dynamics = kind(atoms, fs, temperature_K=300, pressure_au=0.0, tdamp=50 * fs, pdamp=200 * fs)
    return dynamics, dynamics.get_conserved_energy


def test_the_bias_moves_the_cell_of_a_crystal():
    """Relaxed with its cell, the lattice constant is where d(E + V)/da is zero, and not dE/da."""
    cv = tiny_morse.cv()
    relaxed = {}
    for strength in (0.0, 1.0):
        atoms = tiny_morse.crystal(0.0)
        atoms.set_cell(3.75 * np.eye(3), scale_atoms=True)
        atoms.calc = UncertaintyCalculator(cv, LinearBias(strength))
        assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=30)
        relaxed[strength] = atoms
    lengths = np.linspace(3.4, 3.6, 401)
    for strength, atoms in relaxed.items():
        frames = tiny.Dataset(
            atoms.numbers, atoms.get_scaled_positions() * lengths[:, None, None],
            cell=lengths[:, None, None] * np.eye(3),
        )  # fmt: skip
        result = cv.evaluate(frames)
        best = lengths[np.argmin(result.energy - strength * result.uncertainty)]
        np.testing.assert_allclose(atoms.cell.lengths(), best, atol=6e-4)
    assert abs(relaxed[1.0].cell.lengths()[0] - relaxed[0.0].cell.lengths()[0]) > 0.05
    u = [atoms.calc.results["uncertainty"] for atoms in relaxed.values()]
    assert u[1] > u[0] + 0.01
    pressed = relaxed[1.0].get_stress() - relaxed[1.0].calc.get_property("stress_unbiased")
    np.testing.assert_allclose(pressed[:3], -relaxed[1.0].calc.results["stress_unbiased"][:3],
                               atol=1e-4)  # fmt: skip


def test_fire_relaxes_under_pressure():
    """At the end σ = −P, with the bias in σ."""
    atoms = tiny_morse.crystal(0.0)
    atoms.set_cell(3.5 * np.eye(3), scale_atoms=True)
    atoms.calc = UncertaintyCalculator(tiny_morse.cv(), LinearBias(0.5))
    filtered = FrechetCellFilter(atoms, scalar_pressure=5 * units.GPa)
    assert FIRE(filtered, logfile=None).run(fmax=1e-3, steps=100)
    np.testing.assert_allclose(atoms.get_stress()[:3], -5 * units.GPa, atol=1e-4)


def test_berendsen_and_langevin_run_on_the_biased_stress():
    atoms = tiny_morse.crystal(0.05)
    atoms.calc = UncertaintyCalculator(tiny_morse.cv(), LinearBias(1.0))
    warm(atoms, 200, seed=3)
    volume, stress = atoms.get_volume(), atoms.get_stress(include_ideal_gas=True)
    NPTBerendsen(
        atoms, timestep=fs, temperature_K=200, pressure_au=0.0, taut=50 * fs, taup=500 * fs,
        compressibility_au=1.0,
    ).run(1)  # fmt: skip
    old = stress[:3].mean()
    # One step of Berendsen's barostat scales the volume by about 1 + Δt κ (P − P₀)/τ, P = −σ.
    assert atoms.get_volume() / volume - 1 == pytest.approx(-old / 500, rel=0.05)
    Langevin(
        atoms, fs, temperature_K=200, friction=0.01 / fs, fixcm=False, rng=np.random.RandomState(3)
    ).run(5)
    assert np.isfinite(atoms.get_total_energy())


def test_an_optimiser_finds_a_minimum_of_the_biased_energy():
    for make in (BFGS, FIRE):
        atoms = tiny_morse.crystal(0.2)
        atoms.pbc = False
        atoms.calc = UncertaintyCalculator(tiny_morse.cv(), LinearBias(0.5))
        start = atoms.get_potential_energy()
        assert make(atoms, logfile=None).run(fmax=1e-4, steps=300)
        assert atoms.get_potential_energy() < start
        assert np.abs(atoms.calc.get_property("forces_unbiased", atoms)).max() > 1e-2
        slope = calculate_numerical_forces(atoms, eps=1e-4)
        assert np.abs(slope).max() < 2e-4


@pytest.mark.parametrize("shared", [False, True])
def test_nudged_elastic_band_with_own_and_shared_calculators(shared):
    """The hop of an atom on a surface, symmetric: its barrier is at the middle image."""
    slab = fcc111("Cu", (2, 2, 1), a=3.75, vacuum=6.0)
    ends = []
    for site in ("fcc", "hcp"):
        end = slab.copy()
        add_adsorbate(end, "Cu", 2.0, site)
        ends.append(end)
    cv, bias = tiny_morse.cv(), LinearBias(0.2)
    one = UncertaintyCalculator(cv, bias)
    images = [ends[0]] + [ends[0].copy() for _ in range(3)] + [ends[1]]
    for image in images:
        image.calc = one if shared else UncertaintyCalculator(cv, bias)
    band = NEB(images, method="improvedtangent", allow_shared_calculator=shared)
    band.interpolate()
    forces = band.get_forces().reshape(3, -1, 3)
    fresh = [UncertaintyCalculator(cv, bias).get_potential_energy(i) for i in images[1:4]]
    np.testing.assert_allclose(band.energies[1:4], fresh, rtol=1e-12)
    assert np.abs(forces).max() > 0.01
    energies = band.energies
    assert energies[2] > max(energies[0], energies[-1])
    if not shared:
        return
    bad = NEB(images, method="improvedtangent")
    with pytest.raises(ValueError, match=r"[Ss]hare"):
        bad.get_forces()


# The adaptive bias


def adaptive_run(scale=1.0, window=5, steps=9, stress_strength=0.6, asked=False):
    """Dynamics at constant volume; structures, forces and stress of each step."""
    atoms = tiny_morse.crystal(0.05)
    cv = tiny_morse.cv().calibrated(factor(scale))
    calc = UncertaintyCalculator(
        cv, AdaptiveBias(0.25, window=window), stress_strength=stress_strength
    )
    atoms.calc = calc
    warm(atoms, 300, seed=1)
    dynamics = VelocityVerlet(atoms, timestep=fs)
    frames, forces, stresses = [], [], []
    for _ in range(steps):
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress(voigt=False))
        if asked:
            calc.get_property("forces_unbiased", atoms)
            atoms.get_potential_energy()
        frames.append(atoms.positions.copy())
        dynamics.run(1)
    return atoms, np.array(frames), np.array(forces), np.array(stresses)


def test_adaptive_forces_and_stress_are_the_published_formula():
    atoms, frames, forces, stresses = adaptive_run()
    cv = tiny_morse.cv()
    data = tiny.Dataset(atoms.numbers, frames, cell=atoms.cell.array)
    result = cv.evaluate(data)
    np.testing.assert_allclose(forces[:4], result.forces[:4], atol=1e-10)
    np.testing.assert_allclose(stresses[:4], result.stress[:4], atol=1e-12)
    for step in range(4, 9):
        here = slice(step - 4, step + 1)

        def ratio(one, two, here=here):
            return np.sqrt((one[here] ** 2).sum() / (two[here] ** 2).sum())

        c = ratio(result.forces, result.uncertainty_gradient)
        expected = result.forces[step] + 0.25 * c * result.uncertainty_gradient[step]
        np.testing.assert_allclose(forces[step], expected, atol=1e-10)
        c = ratio(result.stress, result.uncertainty_stress)
        expected = result.stress[step] - 0.6 * c * result.uncertainty_stress[step]
        np.testing.assert_allclose(stresses[step], expected, atol=1e-12)
        assert np.abs(stresses[step] - result.stress[step]).max() > 1e-4
    calc = atoms.calc
    assert calc.get_property("energy", atoms) == calc.get_property("energy_unbiased", atoms)
    with pytest.raises(PropertyNotImplementedError, match="bias not present"):
        calc.get_property("bias", atoms)


def test_adaptive_bias_knows_neither_the_scale_of_u_nor_who_asks():
    runs = [adaptive_run(scale, asked=asked) for scale, asked in ((1.0, False), (37.0, True))]
    for one, other in zip(runs[0][1:], runs[1][1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_windows_are_those_of_one_structure_and_can_be_forgotten():
    atoms = adaptive_run()[0]
    calc = atoms.calc
    assert min(calc.coefficients) > 0
    default = UncertaintyCalculator(calc.cv, AdaptiveBias(0.25, window=5))
    assert default.coefficients == (0.0, 0.0)
    again = copy.deepcopy(calc)
    atoms.rattle(0.01, seed=4)
    expected = calc.get_forces(atoms), calc.get_stress(atoms)
    np.testing.assert_array_equal(again.get_forces(atoms), expected[0])
    np.testing.assert_array_equal(again.get_stress(atoms), expected[1])
    longer = atoms.repeat((2, 1, 1))
    plain = UncertaintyCalculator(calc.cv)
    np.testing.assert_allclose(calc.get_forces(longer), plain.get_forces(longer), atol=1e-12)
    assert calc.coefficients == (0.0, 0.0)
    again.reset()
    np.testing.assert_allclose(again.get_forces(atoms), plain.get_forces(atoms), atol=1e-12)
    assert UncertaintyCalculator(calc.cv, LinearBias(1.0)).coefficients is None


def test_adaptive_stress_has_the_strength_of_the_force_by_default():
    atoms = tiny_morse.crystal()
    cv = tiny_morse.cv()
    calc = UncertaintyCalculator(cv, AdaptiveBias(0.4, window=1))
    result = cv.evaluate(dataset_of(atoms))
    c = np.linalg.norm(result.stress) / np.linalg.norm(result.uncertainty_stress)
    expected = result.stress[0] - 0.4 * c * result.uncertainty_stress[0]
    found = calc.get_stress(atoms)
    np.testing.assert_allclose(found, full_3x3_to_voigt_6_stress(expected), atol=1e-12)
    molecule_alone = tiny_morse.crystal()
    molecule_alone.pbc = False
    calc.get_forces(molecule_alone)
    assert calc.coefficients.force > 0
    assert calc.coefficients.stress == 0.0


# Caps and schedules


@pytest.mark.parametrize("limits", [{"max_force": 0.05}, {"max_ratio": 0.3}, {"max_force": 1e3}])
def test_a_cap_cuts_bias_force_and_bias_stress_by_the_same_share(limits):
    atoms = tiny_morse.crystal()
    cv = tiny_morse.cv()
    calc = atoms.calc = UncertaintyCalculator(cv, CappedBias(LinearBias(3.0), **limits))
    result = cv.evaluate(dataset_of(atoms))
    push = 3.0 * result.uncertainty_gradient[0]
    longest = np.linalg.norm(push, axis=1).max()
    ratio = np.linalg.norm(push) / np.linalg.norm(result.forces)
    share = min(1.0, limits.get("max_force", np.inf) / longest)
    share = min(share, limits.get("max_ratio", np.inf) / ratio)
    np.testing.assert_allclose(atoms.get_forces(), result.forces[0] + share * push, atol=1e-10)
    expected = result.stress[0] - 3.0 * share * result.uncertainty_stress[0]
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-12)
    assert calc.results["bias"] == pytest.approx(-3.0 * result.uncertainty[0])
    assert calc.capped == (share < 1.0)
    atoms.get_forces()
    calc.get_property("forces_unbiased", atoms)
    assert calc.capped == (share < 1.0)


@pytest.mark.parametrize(
    "bias",
    [LinearBias(0.8), CappedBias(LinearBias(3.0), max_force=0.02), AdaptiveBias(0.5, window=1)],
)
def test_a_schedule_counts_new_structures_or_the_steps_it_is_told(bias):
    """At factor ½ half of what the bias adds to forces and stress is left."""
    cv, atoms = tiny_morse.cv(), tiny_morse.crystal()
    result = cv.evaluate(dataset_of(atoms))
    whole = UncertaintyCalculator(cv, bias)
    force = whole.get_forces(atoms) - result.forces[0]
    stress = (
        whole.get_stress(atoms)[:, None] - full_3x3_to_voigt_6_stress(result.stress[0])[:, None]
    )
    calc = UncertaintyCalculator(cv, ScheduledBias(bias, Ramp(0.0, 1.0, 4)))
    moved = tiny_morse.crystal(0.06, seed=5)
    for other in (moved, tiny_morse.crystal(0.07, seed=6)):  # steps 0 and 1
        calc.get_forces(other)
    found = calc.get_forces(atoms) - result.forces[0]  # step 2 of 4
    told = UncertaintyCalculator(cv, calc.bias)
    told.completed_steps = 2
    np.testing.assert_allclose(told.get_forces(atoms) - result.forces[0], found, atol=1e-12)
    half = 1.0 if isinstance(bias, CappedBias) else 0.5  # a cap is not part of the schedule
    np.testing.assert_allclose(found, half * force, atol=1e-10)
    plain = full_3x3_to_voigt_6_stress(result.stress[0])
    np.testing.assert_allclose(calc.get_stress(atoms) - plain, half * stress[:, 0], atol=1e-12)


def test_windows_move_with_completed_steps_where_these_are_told():
    cv, bias = tiny_morse.cv(), AdaptiveBias(0.5, window=2)
    calc = UncertaintyCalculator(cv, bias)
    calc.completed_steps = 0
    for seed in (1, 2, 3):
        calc.get_forces(tiny_morse.crystal(seed=seed))
    assert calc.coefficients == (0.0, 0.0)
    calc.completed_steps = 1
    calc.get_forces(tiny_morse.crystal(seed=4))
    assert min(calc.coefficients) > 0


# Files and copies


def test_trajectory_and_database_keep_what_ase_has_names_for(tmp_path):
    atoms = both()[1]
    calc = atoms.calc = UncertaintyCalculator(tiny.cv("atomic_energy"), LinearBias(0.5))
    forces, stress = atoms.get_forces(), atoms.get_stress()
    with ase.io.Trajectory(tmp_path / "run.traj", "w") as trajectory:
        trajectory.write(atoms)
    ase.io.write(tmp_path / "run.extxyz", atoms)
    with ase.db.connect(tmp_path / "run.db") as database:
        row = database.write(atoms, uncertainty=calc.results["uncertainty"])
    read = [ase.io.read(tmp_path / name) for name in ("run.traj", "run.extxyz")]
    read.append(ase.db.connect(tmp_path / "run.db").get_atoms(row))
    for one in read:
        assert one.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), forces, atol=1e-7)
        np.testing.assert_allclose(one.get_stress(), stress, atol=1e-7)
    kept = ase.db.connect(tmp_path / "run.db").get(row)
    assert kept.uncertainty == pytest.approx(calc.results["uncertainty"])
    assert kept.calculator == "uncertaintycalculator"
    about = {"cv": calc.cv.fingerprint, "uncertainty": "EnsembleUncertainty", "kind": "energy",
             "reduce": "mean", "bias": "LinearBias(strength=0.5)"}  # fmt: skip
    assert kept.calculator_parameters == about == calc.todict()
    assert dict(calc.export_properties()).keys() >= {"energy", "forces", "stress"}


def test_a_snapshot_keeps_everything(tmp_path):
    atoms = both()[1]
    calc = atoms.calc = UncertaintyCalculator(tiny.cv("atomic_energy"), LinearBias(0.5))
    kept = snapshot(atoms)
    u, energy = calc.results["uncertainty"], atoms.get_potential_energy()
    plain = calc.get_property("forces_unbiased", atoms)
    later = snapshot(atoms)
    atoms.rattle(0.1)
    assert kept.get_potential_energy() == energy
    assert kept.info["uncertainty"] == u
    assert kept.info["bias"] == pytest.approx(-0.5 * u)
    assert kept.info["energy_unbiased"] == pytest.approx(energy + 0.5 * u)
    assert "forces_unbiased" not in kept.arrays
    np.testing.assert_array_equal(later.arrays["forces_unbiased"], plain)
    ase.io.write(tmp_path / "run.extxyz", [kept, later])
    data = uncv.read(tmp_path / "run.extxyz")
    np.testing.assert_allclose(data.info["uncertainty"], u, rtol=1e-7)
    with ase.io.Trajectory(tmp_path / "run.traj", "w") as trajectory:
        trajectory.write(kept)
    assert ase.io.read(tmp_path / "run.traj").info["uncertainty"] == pytest.approx(u)
    kept.calc = EMT()
    with pytest.raises(EngineError, match="calculator of these atoms is EMT"):
        snapshot(kept)


def test_copies_and_pickles_compute_the_same():
    atoms = both()[0]
    calc = atoms.calc = UncertaintyCalculator(tiny.cv(), LinearBias(0.5))
    forces = atoms.get_forces()
    for again in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):
        assert not again.results
        np.testing.assert_allclose(again.get_forces(atoms), forces, rtol=1e-12)
        assert again.todict() == calc.todict()


def test_it_is_an_oracle_as_any_other_calculator():
    data = tiny.mixed()
    cv = tiny.cv()
    labelled = AseOracle(UncertaintyCalculator(cv)).label(data)
    np.testing.assert_allclose(labelled.forces, cv.evaluate(data).forces, atol=1e-10)


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.positions.__setitem__((0, 0), np.nan), "NaN or infinite"),
        (lambda a: a.set_pbc(True), "cell has no volume"),
        (lambda a: a.__delitem__(slice(None)), "no atoms"),
    ],
)
def test_structures_that_cannot_be_evaluated_are_refused(change, message):
    atoms = molecule("H2O")
    atoms.calc = UncertaintyCalculator(tiny.cv(), LinearBias(0.5))
    before = atoms.get_potential_energy()
    sound = atoms.copy()
    change(atoms)
    with pytest.raises(EngineError, match=message):
        atoms.get_potential_energy()
    assert atoms.calc.get_potential_energy(sound) == pytest.approx(before)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"bias": 0.5}, TypeError, "bias is a float; expected an energy of u alone"),
        ({"bias": ExtendedBias(0.0, 1.0, 0.1)}, TypeError, "is a ExtendedBias; expected an"),
        ({"bias": LinearBias(1.0), "stress_strength": 0.1}, ValueError, "adaptive bias alone"),
        ({"bias": AdaptiveBias(), "stress_strength": np.inf}, ValueError, "stress_strength is inf"),
    ],
)
def test_settings_are_checked(settings, error, message):
    with pytest.raises(error, match=message):
        UncertaintyCalculator(tiny.cv(), **settings)


def test_settings_cannot_be_changed_behind_the_results():
    calc = UncertaintyCalculator(tiny.cv())
    assert calc.set() == {}
    with pytest.raises(EngineError, match="bias cannot be set on a calculator that is made"):
        calc.set(bias=LinearBias(1.0))


def test_a_gradient_that_jumps_is_refused_with_a_bias():
    cv = tiny.cv("atomic_energy", "max")
    with pytest.raises(EngineError, match="'max' has a gradient that jumps"):
        UncertaintyCalculator(cv, LinearBias(1.0))
    atoms = molecule("H2O")
    assert UncertaintyCalculator(cv).get_property("uncertainty", atoms) > 0


@pytest.mark.parametrize("bias", [LinearBias(1.0), AdaptiveBias()], ids=repr)
def test_an_uncertainty_without_slope_is_an_error(bias):
    cv = UncertaintyCV(tiny.same_members(), EnsembleUncertainty())
    with pytest.raises(GradientError, match="a bias would do nothing"):
        UncertaintyCalculator(cv, bias).get_forces(molecule("CH3OH"))


def test_an_unknown_element_is_named():
    with pytest.raises(ElementError, match="contains S but the potential knows H, C, N, O"):
        UncertaintyCalculator(tiny.cv()).get_potential_energy(molecule("SH2"))


def test_atoms_far_apart_have_no_force_and_no_stress():
    atoms = Atoms("CO", [[0, 0, 0], [10.0, 0, 0]], cell=20.0 * np.eye(3), pbc=True)
    atoms.calc = UncertaintyCalculator(tiny.cv())
    np.testing.assert_array_equal(atoms.get_forces(), 0.0)
    np.testing.assert_array_equal(atoms.get_stress(), 0.0)
    assert units.GPa == pytest.approx(0.00624150907)


def test_the_examples_of_the_page_run(monkeypatch, tmp_path):
    page = Path(uncv.__file__).parents[1] / "docs" / "ase.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples:
        exec(compile(example, page.name, "exec"), names)
    assert [f.info["uncertainty"] > 0 for f in names["frames"]] == [True] * 3
    assert np.ptp(names["volumes"]) > 0
    assert len(names["run"].frames) == 2
    first = names["first"]
    assert first.require("energy", "forces") is first
    assert len(first) == 90
    assert set(first.info["perturbation"]) == {
        "strain 0.04, rattle 0.05 Å", "sine wave 0.2 Å", "normal modes 600 K"
    }  # fmt: skip
