"""PLUMED in ASE's calculator: forces, stress, steps, constant pressure."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import tiny
import tiny_morse
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md import VelocityVerlet
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.units import fs

from uncv.ase import Plumed, UncertaintyCalculator
from uncv.bias import AdaptiveBias, CappedBias, LinearBias
from uncv.errors import EngineError, PlumedError

U = "u: EXTRACV NAME=uncertainty\n"
VOLUME = "v: VOLUME\n"


def crystal():
    data = tiny.crystal()
    return Atoms(data.numbers[0], data.positions[0], cell=data.cell[0], pbc=True)


def read(path):
    return np.loadtxt(path, ndmin=2)


def test_volume_and_uncertainty_are_told_in_plumeds_units(tmp_path):
    atoms = crystal()
    script = f"{U}{VOLUME}e: ENERGY\nPRINT ARG=u,v,e FILE=COLVAR STRIDE=1 FMT=%.12g\n"
    calc = atoms.calc = UncertaintyCalculator(tiny.cv(), plumed=Plumed(script, directory=tmp_path))
    energy, u = atoms.get_potential_energy(), calc.results["uncertainty"]
    atoms.rattle(0.01, seed=1)
    atoms.get_forces()
    calc.close()
    _, told_u, volume, told_energy = read(tmp_path / "COLVAR")[0]
    assert told_u == pytest.approx(u * tiny.KJ, rel=1e-9)
    assert volume == pytest.approx(atoms.get_volume() / 1000, rel=1e-9)
    assert told_energy == pytest.approx(energy * tiny.KJ, rel=1e-9)


@pytest.mark.parametrize(
    "script",
    [
        VOLUME + "RESTRAINT ARG=v AT=0.05 KAPPA=3e6\n",
        U + "RESTRAINT ARG=u AT=30 KAPPA=2\n",
        U + VOLUME + "c: CUSTOM ARG=u,v FUNC=x*y*y PERIODIC=NO\nRESTRAINT ARG=c AT=0.1 KAPPA=4e3\n",
        "d: DISTANCE ATOMS=1,3\nc: CELL\nb: CUSTOM ARG=d,c.bx,c.cz FUNC=(x+y)*z PERIODIC=NO\n"
        "RESTRAINT ARG=b AT=0.0 KAPPA=300\n",
        "e: ENERGY\nRESTRAINT ARG=e AT=100 KAPPA=1e-2\n",
        "atomic_uncertainty: PUT SHAPE=4 UNIT=number PERIODIC=NO\n"
        "s: SUM ARG=atomic_uncertainty PERIODIC=NO\nRESTRAINT ARG=s AT=10 KAPPA=0.5\n",
    ],
    ids=["volume", "u", "both", "geometry", "energy", "atomic"],
)
def test_forces_and_stress_are_central_differences_of_energy_and_bias(script):
    """Of E + V, whose V is PLUMED's getBias; V has a part of its own in every case."""
    atoms = crystal()
    calc = atoms.calc = UncertaintyCalculator(tiny.cv("atomic_energy"), plumed=script)
    slope = calculate_numerical_forces(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), slope, atol=1e-6 * np.abs(slope).max())
    slope = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), slope, atol=1e-6 * np.abs(slope).max())
    biased = atoms.get_stress() - calc.get_property("stress_unbiased", atoms)
    assert np.abs(biased).max() > 1e-4
    assert calc.results["bias"] > 1e-3
    total = calc.results["energy_unbiased"] + calc.results["bias"]
    assert atoms.get_potential_energy() == pytest.approx(total)
    calc.close()


def test_a_spring_on_the_volume_is_the_pressure_that_it_should_be():
    """σ = (1/V) dW/dε = W'(V) 1, with W = κ/2 (V − V₀)² in kJ/mol and nm^3."""
    atoms = crystal()
    calc = atoms.calc = UncertaintyCalculator(
        tiny.cv(), plumed=VOLUME + "RESTRAINT ARG=v AT=0.05 KAPPA=1e5\n"
    )
    volume = atoms.get_volume() / 1000
    expected = 1e5 * (volume - 0.05) / tiny.KJ / 1000
    found = atoms.get_stress(voigt=False)
    plain = UncertaintyCalculator(calc.cv)
    plain = plain.get_stress(atoms)[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    np.testing.assert_allclose(found - plain, expected * np.eye(3), atol=1e-9 * expected)
    assert calc.results["bias"] == pytest.approx(0.5e5 * (volume - 0.05) ** 2 / tiny.KJ)
    calc.close()


def test_bias_of_uncv_and_plumed_add_up():
    atoms = crystal()
    cv, script = tiny.cv(), VOLUME + "RESTRAINT ARG=v AT=0.05 KAPPA=1e5\n"
    both, one, other = (
        UncertaintyCalculator(cv, LinearBias(0.7), plumed=script),
        UncertaintyCalculator(cv, LinearBias(0.7)),
        UncertaintyCalculator(cv, plumed=script),
    )
    for name in ("get_potential_energy", "get_forces", "get_stress"):
        whole, first, second, plain = (
            getattr(calc, name)(atoms) for calc in (both, one, other, UncertaintyCalculator(cv))
        )
        np.testing.assert_allclose(whole, first + second - plain, atol=1e-9)
    both.close()
    other.close()


def test_one_update_for_each_completed_step(tmp_path):
    """New structures count as steps until the owner says which step it is."""
    atoms = crystal()
    script = VOLUME + "METAD ARG=v PACE=1 HEIGHT=1 SIGMA=0.001\nPRINT ARG=v FILE=COLVAR\n"
    calc = atoms.calc = UncertaintyCalculator(tiny.cv(), plumed=Plumed(script, directory=tmp_path))
    dynamics = VelocityVerlet(atoms, timestep=0.2 * fs)
    for _ in range(4):
        dynamics.run(1)
        atoms.get_potential_energy()
        atoms.get_stress()
    calc.flush()
    assert read(tmp_path / "COLVAR")[:, 0].tolist() == [0.0, 0.001, 0.002, 0.003]
    assert len(read(tmp_path / "HILLS")) == 3  # METAD leaves the first step out
    calc.completed_steps = 9
    for scale in (1.01, 1.02, 1.03):  # trial moves of the cell
        trial = atoms.copy()
        trial.set_cell(scale * atoms.cell.array, scale_atoms=True)
        calc.get_potential_energy(trial)
    assert len(read(tmp_path / "COLVAR")) == 5
    calc.completed_steps = 10
    calc.get_potential_energy(atoms)
    calc.flush()
    steps, volumes = read(tmp_path / "COLVAR").T
    assert steps[-1] == 0.009
    assert volumes[-1] == pytest.approx(trial.get_volume() / 1000, rel=1e-5)
    calc.completed_steps = 5
    with pytest.raises(PlumedError, match="went back from 10 to 5"):
        calc.get_potential_energy(trial)
    calc.close()


def test_constant_pressure_conserves_its_own_energy():
    """A spring on the volume and one on u, both felt by the cell; not without their stress."""
    script = f"{U}{VOLUME}RESTRAINT ARG=v AT=0.055 KAPPA=3e5\nRESTRAINT ARG=u AT=10 KAPPA=0.15\n"
    spreads = []
    for make in (UncertaintyCalculator, WithoutBiasStress):
        atoms = tiny_morse.crystal(0.05, seed=2)
        calc = atoms.calc = make(tiny_morse.cv(), plumed=script)
        random = np.random.default_rng(1).normal(size=(4, 3))
        atoms.set_momenta(random * np.sqrt(atoms.get_masses() * units.kB * 300)[:, None])
        dynamics = IsotropicMTKNPT(
            atoms, fs, temperature_K=300, pressure_au=0.0, tdamp=50 * fs, pdamp=200 * fs
        )
        values, biases = [], []
        for _ in range(20):
            dynamics.run(4)
            values.append(dynamics.get_conserved_energy())
            biases.append(calc.results["bias"])
        spreads.append(np.ptp(values))
        calc.close()
    assert np.ptp(biases) > 0.02
    assert spreads[0] < 0.005
    assert spreads[1] > 10 * spreads[0]


class WithoutBiasStress(UncertaintyCalculator):
    """Forces of E + V, stress of E alone."""

    def get_stress(self, atoms=None):
        return self.get_property("stress_unbiased", atoms)


def test_a_molecule_has_no_box():
    atoms = molecule("CH3OH")
    script = U + "d: DISTANCE ATOMS=1,2\nRESTRAINT ARG=u,d AT=1,0.1 KAPPA=0.1,1000\n"
    calc = atoms.calc = UncertaintyCalculator(tiny.cv(), plumed=script)
    slope = calculate_numerical_forces(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), slope, atol=1e-6 * np.abs(slope).max())
    calc.close()


def test_refusals():
    atoms, cv = crystal(), tiny.cv()
    for bias in (AdaptiveBias(), CappedBias(LinearBias(1.0), max_force=1.0)):
        with pytest.raises(EngineError, match="cannot be combined with PLUMED"):
            UncertaintyCalculator(cv, bias, plumed=VOLUME)
    with pytest.raises(EngineError, match="'max' has a gradient that jumps"):
        UncertaintyCalculator(tiny.cv("atomic_energy", "max"), plumed=VOLUME)
    slab = crystal()
    slab.pbc = (True, True, False)
    with pytest.raises(EngineError, match="three periodic directions or none"):
        UncertaintyCalculator(cv, plumed=VOLUME).get_potential_energy(slab)
    with pytest.raises(PlumedError, match="VOLUM"):
        UncertaintyCalculator(cv, plumed="v: VOLUM\n").get_potential_energy(atoms)
    calc = UncertaintyCalculator(cv, plumed=VOLUME)
    assert pickle.loads(pickle.dumps(calc)).todict() == calc.todict()
    calc.get_potential_energy(atoms)
    with pytest.raises(EngineError, match="cannot be copied once it has run"):
        copy.deepcopy(calc)
    with pytest.raises(EngineError, match="PLUMED was started for other atoms than these 8"):
        calc.get_potential_energy(atoms.repeat((2, 1, 1)))
    calc.close()
