"""What every uncertainty, bias and engine must hold; a new one is one line in a list below.

`test_contracts.py` runs each check of `UNCERTAINTY_CHECKS` on each entry of `UNCERTAINTIES`, and
so on. Potentials are small and in float64, so that derivatives can be held against differences.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
import openmm
import pytest
import tiny
import torch

import uncv.ase
import uncv.openmm
from uncv.bias import Bias, CeilingBias, HarmonicBias, LinearBias, SumBias, TanhBias, UDDBias
from uncv.calibration import GaussianCalibrator
from uncv.cv import CVResult, UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import FingerprintError, GradientError, NotFittedError
from uncv.export import export, load_exported
from uncv.protocols import Potential
from uncv.uncertainty import (
    EnsembleUncertainty,
    EvidentialUncertainty,
    GMMUncertainty,
    GradientUncertainty,
    MVEUncertainty,
    UncertaintyBase,
    reduce_atoms,
)

FACTOR = 1.7
"""Of the calibrator in every check: an uncertainty must come through it."""


class UncertaintyCase(NamedTuple):
    """An uncertainty, unfitted, how its atomic values are reduced, and of which potential."""

    name: str
    make: Callable[[], UncertaintyBase]
    reduce: str = "mean"
    potential: Callable[[], Potential] = tiny.potential
    refusal: str = "at least 2"
    """Of a potential of one member and without a head, by an uncertainty that needs no fit."""
    constant: Callable[[], Potential] = tiny.same_members
    """Where an uncertainty that needs no fit has no gradient."""


class BiasCase(NamedTuple):
    """A conservative bias and its V(u) in numpy."""

    name: str
    make: Callable[[], Bias]
    formula: Callable[[np.ndarray], np.ndarray]


class EngineCase(NamedTuple):
    """An engine: (cv, one frame, bias) to energy (eV) and forces (A, 3) in eV/Å."""

    name: str
    evaluate: Callable[[UncertaintyCV, Dataset, Bias | None], tuple[float, np.ndarray]]


def _openmm(backend: str) -> Callable:
    def evaluate(cv: UncertaintyCV, data: Dataset, bias: Bias | None) -> tuple[float, np.ndarray]:
        box = data.cell[0] / 10.0 if data.pbc.all() else None
        topology = tiny.topology(data, box)
        system = uncv.openmm.create_system(topology, cv, bias=bias, backend=backend)
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions(data.positions[0] / 10.0)
        state = context.getState(energy=True, forces=True)
        forces = state.getForces(asNumpy=True)._value / (10.0 * tiny.KJ)
        return state.getPotentialEnergy()._value / tiny.KJ, forces

    return evaluate


def _ase(cv: UncertaintyCV, data: Dataset, bias: Bias | None) -> tuple[float, np.ndarray]:
    atoms = ase.Atoms(data.numbers[0], data.positions[0], cell=data.cell[0], pbc=data.pbc[0])
    atoms.calc = uncv.ase.UncertaintyCalculator(cv, bias)
    return atoms.get_potential_energy(), atoms.get_forces()


def _constant_head(head: str) -> Potential:
    """A potential whose head says the same of all atoms of an element."""
    made = tiny.potential(head=head)
    for network in made.networks:
        network.head[0].weight.zero_()
    return made


def _of_head(name: str, make: Callable[[], UncertaintyBase], members: int) -> UncertaintyCase:
    head = "mean_variance" if make is MVEUncertainty else "evidential"
    return UncertaintyCase(
        name,
        make,
        potential=lambda: tiny.potential(members, head=head),
        refusal=f"TrainSettings\\(head='{head}'\\)",
        constant=lambda: _constant_head(head),
    )


UNCERTAINTIES = [
    UncertaintyCase("energy", lambda: EnsembleUncertainty("energy")),
    UncertaintyCase("atomic energy", lambda: EnsembleUncertainty("atomic_energy"), "mean"),
    UncertaintyCase("atomic energy, sum", lambda: EnsembleUncertainty("atomic_energy"), "sum"),
    UncertaintyCase("atomic energy, rms", lambda: EnsembleUncertainty("atomic_energy"), "rms"),
    UncertaintyCase(
        "atomic energy, softmax", lambda: EnsembleUncertainty("atomic_energy"), "softmax"
    ),
    UncertaintyCase("forces", lambda: EnsembleUncertainty("forces"), "mean"),
    UncertaintyCase("forces, softmax", lambda: EnsembleUncertainty("forces"), "softmax"),
    UncertaintyCase("posterior", lambda: GradientUncertainty()),
    UncertaintyCase("posterior, all", lambda: GradientUncertainty(member="all"), "softmax"),
    UncertaintyCase("posterior of frames", lambda: GradientUncertainty(per_atom=False)),
    UncertaintyCase(
        "posterior, sketched", lambda: GradientUncertainty("posterior", "sketched", 24), "rms"
    ),
    UncertaintyCase("distance", lambda: GradientUncertainty("distance")),
    UncertaintyCase(
        "distance of frames, sketched",
        lambda: GradientUncertainty("distance", "sketched", 24, member="all", per_atom=False),
    ),
    _of_head("mean variance", MVEUncertainty, 3),
    _of_head("mean variance, one member", MVEUncertainty, 1),
    _of_head("evidential", EvidentialUncertainty, 3),
    _of_head("evidential, one member", EvidentialUncertainty, 1),
    _of_head("evidential, aleatoric", lambda: EvidentialUncertainty("aleatoric"), 3),
    UncertaintyCase("mixture", lambda: GMMUncertainty()),
    UncertaintyCase(
        "mixture, diagonal", lambda: GMMUncertainty(covariance="diag", pca=None), "sum"
    ),
    UncertaintyCase("mixture of descriptors", lambda: GMMUncertainty("descriptor"), "softmax"),
    UncertaintyCase(
        "mixture, shared",
        lambda: GMMUncertainty("descriptor", 3, "tied", pca=0.9, per_element=False),
        "rms",
    ),
]
BIASES = [
    BiasCase("linear", lambda: LinearBias(0.5), lambda u: -0.5 * u),
    BiasCase("harmonic", lambda: HarmonicBias(3.0, 0.4), lambda u: 1.5 * (u - 0.4) ** 2),
    BiasCase("linear, upwards", lambda: LinearBias(-2.0), lambda u: 2.0 * u),
    BiasCase(
        "harmonic, bounded",
        lambda: HarmonicBias(3.0, 0.4, max_slope=0.7),
        lambda u: 0.7**2 / 3.0 * (np.sqrt(1.0 + (3.0 * (u - 0.4) / 0.7) ** 2) - 1.0),
    ),
    BiasCase(
        "ceiling",
        lambda: CeilingBias(2.5, 0.03),
        lambda u: np.where(u > 0.03, 1.25 * (u - 0.03) ** 2, 0.0),
    ),
    BiasCase(
        "ceiling, bounded",
        lambda: CeilingBias(2.5, 0.03, max_slope=0.4),
        lambda u: 0.4**2 / 2.5 * (np.sqrt(1.0 + (2.5 * np.maximum(u - 0.03, 0) / 0.4) ** 2) - 1.0),
    ),
    BiasCase("UDD", lambda: UDDBias(0.6, 0.8), lambda u: 0.6 * (np.exp(-(u**2) / 1.28) - 1.0)),
    BiasCase(
        "UDD, published form",
        lambda: UDDBias(0.6, 0.1, members=3, atoms=6),
        lambda u: 0.6 * (np.exp(-(0.5 * 2 * u**2) / (3 * 6 * 0.1**2)) - 1.0),
    ),
    BiasCase("tanh", lambda: TanhBias(0.7, 0.3), lambda u: -0.7 * np.tanh(u / 0.3)),
    BiasCase(
        "sum",
        lambda: SumBias(LinearBias(0.5), CeilingBias(4.0, 0.02), TanhBias(0.1, 0.05)),
        lambda u: -0.5 * u + 2.0 * np.maximum(u - 0.02, 0) ** 2 - 0.1 * np.tanh(u / 0.05),
    ),
]
ENGINES = [
    EngineCase("OpenMM, python", _openmm("python")),
    EngineCase("OpenMM, torchforce", _openmm("torchforce")),
    EngineCase("ASE", _ase),
]


def fitted(case: UncertaintyCase) -> UncertaintyCV:
    """The collective variable of a case, calibrated."""
    potential = case.potential()
    calibrator = GaussianCalibrator()
    training = concatenate([tiny.frames("CH3OH", 8, seed=9), tiny.frames("NH3", 4, seed=10)])
    uncertainty = case.make().fit(potential, training)
    calibrator.factor = FACTOR
    calibrator.kind = "energy" if uncertainty.kind == "energy" else "force"
    return UncertaintyCV(potential, uncertainty, case.reduce, calibrator)


def moved(data: Dataset, positions: np.ndarray, cell: np.ndarray | None = None) -> Dataset:
    """The same frames elsewhere."""
    return Dataset(data.numbers, positions, cell=data.cell if cell is None else cell, pbc=data.pbc)


def same(one: CVResult, two: CVResult, rtol: float = 1e-8) -> None:
    """Compare everything that two results hold."""
    for name, first, second in zip(CVResult._fields, one, two, strict=True):
        assert (first is None) == (second is None), name
        if first is not None:
            scale = np.nanmax(np.abs(first)) if np.isfinite(first).any() else 1.0
            np.testing.assert_allclose(second, first, rtol=0, atol=rtol * scale, err_msg=name)


def shapes_and_types(case: UncertaintyCase, folder: Path) -> None:
    """Float64 of the shapes promised; atomic values 0 on padding, or none; u not negative."""
    cv, data = fitted(case), tiny.mixed()
    result = cv.evaluate(data)
    frames, atoms = data.numbers.shape
    assert result.energy.shape == result.uncertainty.shape == (frames,)
    assert result.forces.shape == result.uncertainty_gradient.shape == (frames, atoms, 3)
    assert result.atomic_uncertainty.shape == (frames, atoms)
    assert all(r.dtype == np.float64 for r in result if r is not None)
    assert (result.uncertainty >= 0).all()
    assert result.stress is None
    predicted = cv.predict(data)
    for name in predicted._fields:
        np.testing.assert_array_equal(getattr(predicted, name), getattr(result, name))
    padding = ~data.mask
    assert not result.forces[padding].any()
    assert not result.uncertainty_gradient[padding].any()
    if cv.uncertainty.per_atom:
        assert not result.atomic_uncertainty[padding].any()
        assert (result.atomic_uncertainty[data.mask] >= 0).all()
    else:
        assert np.isnan(result.atomic_uncertainty).all()
    assert cv.kind in ("energy", "force", "dimensionless")
    empty = cv.evaluate(data[:0])
    assert empty.uncertainty.shape == (0,)
    assert empty.uncertainty_gradient.shape == (0, atoms, 3)
    assert cv.predict(data[:0]).forces.shape == (0, atoms, 3)


def inputs_are_not_changed(case: UncertaintyCase, folder: Path) -> None:
    """Neither the dataset nor the potential, exporting included."""
    cv, data = fitted(case), tiny.frames("CH3OH", 2)
    cv.potential.requires_grad_(True)
    positions, fingerprint = data.positions.copy(), cv.fingerprint
    cv.potential.train()
    cv.evaluate(data)
    cv.save(folder / "cv.uncv")
    export(cv, data[0], folder / "cv.pt")
    np.testing.assert_array_equal(data.positions, positions)
    assert cv.fingerprint == fingerprint
    assert cv.potential.training
    assert all(p.requires_grad and p.grad is None for p in cv.potential.parameters())


def batch_is_its_parts(case: UncertaintyCase, folder: Path) -> None:
    """A padded batch, and the frames one by one without padding."""
    cv, data = fitted(case), tiny.mixed()
    whole = cv.evaluate(data)
    for frame in range(len(data)):
        atoms = data.frame_atoms[frame]
        one = Dataset(data.numbers[frame, :atoms], data.positions[frame : frame + 1, :atoms])
        part = cv.evaluate(one)
        cut = CVResult(
            *(
                None if w is None else w[frame : frame + 1, :atoms] if w.ndim > 1 else w[[frame]]
                for w in whole
            )
        )
        same(part, cut)


def invariances(case: UncertaintyCase, folder: Path) -> None:
    """Translation, rotation, permutation of atoms; gradients turn with the structure."""
    cv, data = fitted(case), tiny.frames("CH3CH2OH", 2)
    start = cv.evaluate(data)
    same(start, cv.evaluate(moved(data, data.positions + np.array([3.0, -50.0, 0.4]))), 1e-7)
    turn = tiny.rotation()
    turned = cv.evaluate(moved(data, data.positions @ turn.T))
    back = turned._replace(
        forces=turned.forces @ turn, uncertainty_gradient=turned.uncertainty_gradient @ turn
    )
    same(start, back)
    order = np.random.default_rng(0).permutation(data.positions.shape[1])
    mixed = cv.evaluate(Dataset(data.numbers[:, order], data.positions[:, order]))
    same(
        start._replace(
            forces=start.forces[:, order],
            uncertainty_gradient=start.uncertainty_gradient[:, order],
            atomic_uncertainty=start.atomic_uncertainty[:, order],
        ),
        mixed,
    )
    total = start.uncertainty_gradient.sum(axis=1)
    np.testing.assert_allclose(total, 0.0, atol=1e-9 * np.abs(start.uncertainty_gradient).max())


def periodic_images(case: UncertaintyCase, folder: Path) -> None:
    """Atoms moved by whole cell vectors change nothing; a turned crystal turns its stress."""
    cv, data = fitted(case), tiny.crystal(2)
    start = cv.evaluate(data)
    whole = np.random.default_rng(1).integers(-2, 3, data.positions.shape).astype(float)
    same(start, cv.evaluate(moved(data, data.positions + whole @ data.cell)))
    turn = tiny.rotation(3)
    turned = cv.evaluate(moved(data, data.positions @ turn.T, data.cell @ turn.T))
    back = turned._replace(
        forces=turned.forces @ turn,
        uncertainty_gradient=turned.uncertainty_gradient @ turn,
        stress=turn.T @ turned.stress @ turn,
        uncertainty_stress=turn.T @ turned.uncertainty_stress @ turn,
    )
    same(start, back)


def values(cv: UncertaintyCV, data: Dataset) -> np.ndarray:
    """Energy without reference energies, and u, of one frame."""
    batch = data.to_batch()
    batch.positions.requires_grad_()  # for forces of members
    output = cv(batch)
    return np.array([output.energy.item(), output.uncertainty.item()])


def gradients(case: UncertaintyCase, folder: Path) -> None:
    """Central differences of E and u to 1e-6, and torch's gradcheck in positions and cell."""
    cv = fitted(case)
    for data in (tiny.frames("CH3OH"), tiny.crystal()):
        result = cv.evaluate(data)
        slopes = tiny.central_differences(
            lambda x, d=data: values(cv, moved(d, x)), data.positions, 3e-5
        )
        for index, gradient in enumerate((-result.forces, result.uncertainty_gradient)):
            slope = slopes[..., index]
            assert np.abs(slope).max() > 1e-4
            np.testing.assert_allclose(gradient, slope, atol=1e-6 * np.abs(slope).max())
    batch = tiny.crystal().to_batch()

    def u(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        return cv(batch._replace(positions=positions, cell=cell)).uncertainty

    leaves = batch.positions.requires_grad_(), batch.cell.requires_grad_()
    assert torch.autograd.gradcheck(u, leaves, atol=1e-7, rtol=1e-5)


def stress(case: UncertaintyCase, folder: Path) -> None:
    """Central differences of E and u by a strain of atoms and cell."""
    cv, data = fitted(case), tiny.crystal()
    result = cv.evaluate(data)
    volume = np.abs(np.linalg.det(data.cell[0]))

    def strained(strain: np.ndarray) -> np.ndarray:
        scale = np.eye(3) + 0.5 * (strain + strain.T)
        return values(cv, moved(data, data.positions @ scale, data.cell @ scale))

    slopes = tiny.central_differences(strained, np.zeros((3, 3)), 1e-5) / volume
    for index, found in enumerate((result.stress, result.uncertainty_stress)):
        slope = slopes[..., index]
        np.testing.assert_allclose(found[0], slope, atol=1e-6 * np.abs(slope).max())
        assert np.abs(slope).max() > 1e-6


def saved_is_the_same(case: UncertaintyCase, folder: Path) -> None:
    """To the last digit, with everything the file says of itself."""
    cv = fitted(case)
    data = concatenate([tiny.mixed(), tiny.crystal()])
    cv.save(folder / "cv.uncv")
    again = UncertaintyCV.load(folder / "cv.uncv")
    same(cv.evaluate(data), again.evaluate(data), 0.0)
    assert (again.kind, again.reduce, again.fingerprint) == (cv.kind, cv.reduce, cv.fingerprint)
    assert again.calibrator.factor == FACTOR
    assert [p.name for p in folder.iterdir()] == ["cv.uncv"]


def exported_is_eager(case: UncertaintyCase, folder: Path) -> None:
    """The TorchScript file, read by another module: values and gradients of E and u."""
    cv = fitted(case)
    for data in (tiny.frames("CH3OH", 2, 0.1), tiny.crystal(2)):
        path = export(cv, data[0], folder / "cv.pt", walkers=2)
        module, about = load_exported(path)
        assert about["fingerprint"] == cv.fingerprint
        positions = torch.tensor(data.positions, requires_grad=True)
        energy, u, atomic = module.evaluate(positions, torch.tensor(data.cell))
        (of_u,) = torch.autograd.grad(u.sum(), positions, retain_graph=True)
        (of_energy,) = torch.autograd.grad(energy.sum(), positions)
        result = cv.evaluate(data)
        np.testing.assert_allclose(energy.detach(), result.energy, rtol=1e-9)
        np.testing.assert_allclose(u.detach(), result.uncertainty, rtol=1e-8)
        scale = np.abs(result.uncertainty_gradient).max()
        np.testing.assert_allclose(of_u, result.uncertainty_gradient, atol=1e-7 * scale)
        np.testing.assert_allclose(of_energy, -result.forces, atol=1e-8)
        if cv.uncertainty.per_atom:
            np.testing.assert_allclose(atomic.detach(), result.atomic_uncertainty, rtol=1e-7)
        else:
            assert atomic.shape == (2, 0)


def reduced_and_calibrated(case: UncertaintyCase, folder: Path) -> None:
    """The calibrator's factor is on atoms and frame; u is the reduction of the atoms."""
    cv, data = fitted(case), tiny.mixed()
    plain, result = cv.calibrated(None).evaluate(data), cv.evaluate(data)
    np.testing.assert_allclose(result.uncertainty, FACTOR * plain.uncertainty, rtol=1e-8)
    if not cv.uncertainty.per_atom:
        return
    np.testing.assert_allclose(result.atomic_uncertainty, FACTOR * plain.atomic_uncertainty)
    reduced = reduce_atoms(
        torch.tensor(result.atomic_uncertainty), torch.tensor(data.mask), case.reduce
    )
    np.testing.assert_allclose(result.uncertainty, reduced, rtol=1e-12)


def wrong_use_is_refused(case: UncertaintyCase, folder: Path) -> None:
    """Without a fit, or with another potential; with members that agree there is no gradient."""
    uncertainty = case.make()
    if uncertainty.needs_fit:
        with pytest.raises(NotFittedError, match="is not fitted"):
            UncertaintyCV(tiny.potential(), uncertainty)
        uncertainty.fit(tiny.potential(), tiny.frames("CH3OH", 8))
        with pytest.raises(FingerprintError, match="fit it again"):
            UncertaintyCV(tiny.potential(seed=5), uncertainty)
        return
    with pytest.raises(ValueError, match=case.refusal):
        UncertaintyCV(tiny.potential(members=1), uncertainty)
    with pytest.raises(GradientError, match="a bias would do nothing"):
        UncertaintyCV(case.constant(), uncertainty, case.reduce).evaluate(tiny.frames("CH3OH"))


UNCERTAINTY_CHECKS = [
    shapes_and_types,
    inputs_are_not_changed,
    batch_is_its_parts,
    invariances,
    periodic_images,
    gradients,
    stress,
    saved_is_the_same,
    exported_is_eager,
    reduced_and_calibrated,
    wrong_use_is_refused,
]
POTENTIAL_CHECKS = [check for check in UNCERTAINTY_CHECKS if check is not wrong_use_is_refused]
"""What an uncertainty must hold on any potential."""


def check_bias(case: BiasCase) -> None:
    """V and dV/du of a batch against the formula; as TorchScript too; input left alone."""
    bias = case.make()
    u = torch.linspace(0.05, 3.0, 20, dtype=torch.float64)
    before = u.clone()
    energy, slope = bias.energy_and_slope(u)
    np.testing.assert_array_equal(u, before)
    assert not u.requires_grad
    assert energy.shape == slope.shape == (20,)
    assert energy.dtype == slope.dtype == torch.float64
    np.testing.assert_allclose(energy, case.formula(u.numpy()), atol=1e-12)
    step = 1e-6
    expected = (case.formula(u.numpy() + step) - case.formula(u.numpy() - step)) / (2 * step)
    np.testing.assert_allclose(slope, expected, atol=1e-8)
    np.testing.assert_array_equal(torch.jit.script(bias)(u), energy)
    for one in range(20):
        np.testing.assert_allclose(bias.energy_and_slope(u[one : one + 1])[0], energy[one])


def check_engine(engine: EngineCase, case: UncertaintyCase, bias: BiasCase) -> None:
    """Energy and forces of the engine are those of E + V(u), molecule and crystal."""
    cv = fitted(case)
    orthorhombic = Dataset([6, 8, 1, 7], tiny.crystal().positions, cell=np.diag([3.4, 4.1, 5.0]))
    for data in (tiny.frames("CH3OH", seed=4), orthorhombic):
        result = cv.evaluate(data)
        energy, forces = engine.evaluate(cv, data, bias.make())
        u = result.uncertainty
        slope = (bias.formula(u + 1e-6) - bias.formula(u - 1e-6))[0] / 2e-6
        expected = result.forces[0] - slope * result.uncertainty_gradient[0]
        assert energy == pytest.approx((result.energy + bias.formula(u))[0], rel=1e-8)
        np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())
