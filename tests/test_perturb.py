"""Start data: what each perturbation does to a structure, thermal amplitudes, what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tiny
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.data import atomic_masses, covalent_radii
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from uncv import perturb
from uncv.data import Dataset
from uncv.errors import ConfigError, DataError
from uncv.oracles import AseOracle
from uncv.structures import alpha_quartz
from uncv.units import KB_IN_EV_PER_K

KT = KB_IN_EV_PER_K * 300.0
STEPS = [perturb.Rattle(0.05), perturb.Strain(0.03), perturb.SineWave(0.2)]


def forces_by(calculator):
    """Forces of a dataset by a calculator of ASE."""
    oracle = AseOracle(calculator)
    return lambda data: oracle.label(data).forces


def springs(stiffness):
    """Forces −H (x − x₀) around the first positions that are asked for in the middle."""

    def of(start):
        def forces(data):
            moved = (data.positions - start).reshape(len(data), -1)
            return -(moved @ stiffness).reshape(data.positions.shape)

        return forces

    return of


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_frames_follow_from_the_seed_and_their_number(step):
    data = alpha_quartz()
    before = data.positions.copy()
    five = perturb.draw(data, 5, step, seed=3)
    two = perturb.draw(data, 2, step, seed=3)
    other = perturb.draw(data, 2, step, seed=4)
    np.testing.assert_array_equal(five.positions[:2], two.positions)
    np.testing.assert_array_equal(five.cell[:2], two.cell)
    assert np.abs(other.positions - two.positions).max() > 1e-3
    assert np.abs(five.positions[0] - five.positions[1]).max() > 1e-3
    np.testing.assert_array_equal(data.positions, before)
    np.testing.assert_array_equal(five.numbers, np.repeat(data.numbers, 5, axis=0))


def test_each_frame_says_how_it_was_made():
    data = tiny.mixed()
    chain = [perturb.Rattle(0.03), perturb.SineWave(0.1)]
    labelled = Dataset(data.numbers, data.positions, energy=np.zeros(len(data)), info={"run": 7})
    made = perturb.draw(labelled, 6, chain, seed=11)
    assert made.info["perturbation"].tolist() == ["rattle 0.03 Å, sine wave 0.1 Å"] * 6
    assert made.info["parent"].tolist() == [0, 1, 2, 3, 0, 1]
    assert made.info["seed"].tolist() == [11] * 6
    assert made.info["run"].tolist() == [7] * 6
    assert made.energy is None
    np.testing.assert_array_equal(made.numbers, data.numbers[made.info["parent"]])
    assert not made.positions[~made.mask].any()
    assert len(perturb.draw(data, 0, chain, seed=0)) == 0


def test_rattle_is_gaussian():
    data = tiny.frames("CH3OH")
    made = perturb.draw(data, 400, perturb.Rattle(0.04), seed=1)
    moved = made.positions - data.positions
    assert moved.std() == pytest.approx(0.04, rel=0.03)
    assert np.abs(moved.mean(axis=0)).max() < 4.5 * 0.04 / 20
    third = np.sort(np.abs(moved).ravel())[int(0.6827 * moved.size)]
    assert third == pytest.approx(0.04, rel=0.03)  # 68.27 % lie within one standard deviation


def test_strain_is_symmetric_of_the_given_size_and_atoms_follow():
    data = tiny.crystal()
    made = perturb.draw(data, 200, perturb.Strain(0.05), seed=2, min_distance_factor=0.0)
    strain = np.linalg.inv(data.cell[0]) @ made.cell - np.eye(3)
    np.testing.assert_allclose(strain, strain.transpose(0, 2, 1), atol=1e-12)
    assert 0.048 < np.abs(strain).max() < 0.05
    # Uniform between −0.05 and 0.05: a standard deviation of 0.05/√3 for every component.
    np.testing.assert_allclose(strain.std(axis=0), 0.05 / np.sqrt(3), rtol=0.15)
    scaled = made.positions @ np.linalg.inv(made.cell)
    expected = np.repeat(data.positions @ np.linalg.inv(data.cell), 200, axis=0)
    np.testing.assert_allclose(scaled, expected, atol=1e-12)


def test_a_wave_fits_the_cell_and_moves_neighbours_together():
    """Atoms of neighbouring cells move alike; within one, by one wave along one direction."""
    data = alpha_quartz((2, 1, 1))
    step = perturb.SineWave(0.3, waves=1)
    made = perturb.draw(data, 30, step, seed=5, min_distance_factor=0.0)
    moved = made.positions - data.positions
    assert np.linalg.norm(moved, axis=2).max() <= 0.3 + 1e-12
    assert np.linalg.svd(moved, compute_uv=False)[:, 1].max() < 1e-12  # one direction
    away = Dataset(data.numbers, data.positions + 3 * data.cell[:, 1:2], cell=data.cell)
    again = perturb.draw(away, 30, step, seed=5, min_distance_factor=0.0)
    np.testing.assert_allclose(again.positions - away.positions, moved, atol=1e-9)
    with_waves = np.ptp(np.linalg.norm(moved, axis=2), axis=1)
    assert (with_waves > 0.02).all()


def test_a_molecule_has_waves_across_it():
    data = tiny.frames("CH3CH2OH")
    made = perturb.draw(data, 20, perturb.SineWave(0.1), seed=5)
    moved = np.linalg.norm(made.positions - data.positions, axis=2)
    assert moved.max() <= 0.1 + 1e-12
    assert (np.ptp(moved, axis=1) > 0.01).all()


def test_hessian_of_springs_is_their_matrix(rng):
    data = tiny.frames("H2O")
    root = rng.normal(size=(9, 9))
    stiffness = root @ root.T
    found = perturb.hessian(data, springs(stiffness)(data.positions[0]))
    np.testing.assert_allclose(found, stiffness, atol=1e-10 * np.abs(stiffness).max())


def test_thermal_amplitudes_are_those_of_the_harmonic_ensemble(rng):
    """The covariance of the positions is k_BT times the inverse of the Hessian."""
    data = tiny.frames("H2O")
    root = rng.normal(size=(9, 9))
    stiffness = root @ root.T + 20.0 * np.eye(9)
    forces = springs(stiffness)(data.positions[0])
    modes = perturb.NormalModes.of(data, forces, 300.0)
    assert len(modes.modes) == 9
    flat = modes.modes.reshape(9, 9)
    expected = KT * np.linalg.inv(stiffness)
    np.testing.assert_allclose(flat.T @ flat, expected, rtol=1e-7, atol=1e-9 * expected.max())
    made = perturb.draw(data, 3000, modes, seed=0, min_distance_factor=0.0)
    moved = (made.positions - data.positions).reshape(3000, 9)
    np.testing.assert_allclose(np.cov(moved.T), expected, atol=0.1 * expected.max())
    energy = 0.5 * np.einsum("fi,ij,fj->f", moved, stiffness, moved)
    assert energy.mean() == pytest.approx(4.5 * KT, rel=0.05)
    assert made.info["perturbation"][0] == "normal modes 300 K"


@pytest.mark.parametrize("crystal", [False, True])
def test_modes_are_those_of_ases_vibrations(tmp_path, crystal):
    atoms = (
        Atoms("Cu4", cell=3.7 * np.eye(3), pbc=True,
              scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        if crystal
        else Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [0, 2.4, 0], [0.3, 0.2, 2.3]])
    )  # fmt: skip
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=200)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.01)
    vibrations.run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE's own, on square roots of negative numbers
        theirs = vibrations.get_frequencies()
    real = np.sort(theirs.real[theirs.real > 20.0])
    data = Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array, pbc=atoms.pbc)
    modes = perturb.NormalModes.of(data, forces_by(EMT()), lowest=20.0)
    assert len(modes.wavenumbers) == (9 if crystal else 6)
    np.testing.assert_allclose(modes.wavenumbers, real, rtol=1e-5)


def test_modes_of_a_dimer_are_the_formula():
    """One stretch: ω² = k/μ; the amplitude of the bond is √(k_BT/k)."""
    calc = LennardJones(sigma=2.0, epsilon=0.5, rc=50.0)
    length = 2.0 * 2 ** (1 / 6)
    data = Dataset([18, 10], [[[0, 0, 0], [0, 0, length]]])
    modes = perturb.NormalModes.of(data, forces_by(calc), 100.0, width=1e-3)
    k = 72 * 0.5 / (2 ** (1 / 3) * 4.0)
    reduced = 1 / (1 / atomic_masses[18] + 1 / atomic_masses[10])
    omega = np.sqrt(k / reduced) * units._hbar * 1e10 / np.sqrt(units._e * units._amu)
    assert modes.wavenumbers == pytest.approx([omega / units.invcm], rel=1e-4)
    stretch = modes.modes[0, 1, 2] - modes.modes[0, 0, 2]
    assert abs(stretch) == pytest.approx(np.sqrt(units.kB * 100 / k), rel=1e-4)


def test_frames_with_atoms_too_close_are_drawn_again():
    data = alpha_quartz()
    made = perturb.draw(data, 30, perturb.Rattle(0.35), seed=0, min_distance_factor=0.55)
    loose = perturb.draw(data, 30, perturb.Rattle(0.35), seed=0, min_distance_factor=0.0)
    shortest = [closest(made, i) for i in range(30)]
    assert min(shortest) >= 0.55
    assert min(closest(loose, i) for i in range(30)) < 0.5
    same = (made.positions == loose.positions).all(axis=(1, 2))
    assert 0 < same.sum() < 30


def closest(data, frame):
    """Smallest distance over the sum of covalent radii, images included."""
    atoms = Atoms(
        data.numbers[frame], data.positions[frame], cell=data.cell[frame], pbc=data.pbc[frame]
    )
    i, j, d = neighbor_list("ijd", atoms, 3.0)
    radii = covalent_radii[atoms.numbers]
    return (d / (radii[i] + radii[j])).min()


@pytest.mark.parametrize(
    ("data", "steps", "error", "message"),
    [
        (tiny.frames(), perturb.Strain(0.1), DataError, "periodic in all directions"),
        (
            tiny.frames(),
            perturb.Rattle(0.01),
            DataError,
            "100 draws of 'rattle 0.01 Å' from frame 0",
        ),
        (tiny.frames()[:0], perturb.Rattle(0.1), DataError, "no structure to perturb"),
        (tiny.frames(), [], ConfigError, "no perturbation"),
    ],
)
def test_what_cannot_be_drawn_is_refused(data, steps, error, message):
    factor = 1.2 if "draws" in message else 0.6
    with pytest.raises(error, match=message):
        perturb.draw(data, 2, steps, seed=0, min_distance_factor=factor)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="count is -1"):
        perturb.draw(tiny.frames(), -1, perturb.Rattle(), seed=0)
    with pytest.raises(ConfigError, match=r"size is 0.0; expected a positive"):
        perturb.Rattle(0.0)
    with pytest.raises(ConfigError, match=r"size is 0.7; expected a strain below 0.5"):
        perturb.Strain(0.7)
    with pytest.raises(ConfigError, match="amplitude is nan"):
        perturb.SineWave(float("nan"))
    with pytest.raises(ConfigError, match="waves is 0"):
        perturb.SineWave(0.1, 0)


def test_modes_that_cannot_be_are_refused(rng):
    data = tiny.frames("H2O", 2)
    downhill = springs(-20.0 * np.eye(9))(data.positions[0])
    with pytest.raises(DataError, match=r"9 modes are imaginary.*no minimum"):
        perturb.NormalModes.of(data[0], downhill)
    flat = springs(1e-6 * np.eye(9))(data.positions[0])
    with pytest.raises(DataError, match=r"no mode is above 50 cm⁻¹"):
        perturb.NormalModes.of(data[0], flat)
    with pytest.raises(DataError, match="found 2 frames"):
        perturb.hessian(data, flat)
    with pytest.raises(DataError, match="NaN or infinite"):
        perturb.hessian(data[0], lambda d: np.full(d.positions.shape, np.nan))
    with pytest.raises(ConfigError, match="temperature is 0"):
        perturb.NormalModes.of(data[0], flat, 0.0)
    modes = perturb.NormalModes.of(data[0], springs(20.0 * np.eye(9))(data.positions[0]))
    with pytest.raises(DataError, match="modes are of 3 atoms but the structure has 6"):
        perturb.draw(tiny.frames("CH3OH"), 1, modes, seed=0)
