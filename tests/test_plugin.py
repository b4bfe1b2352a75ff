"""The action UNCERTAINTY in real PLUMED: its command line, ASE, our OpenMM engine."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openmm
import pytest
import tiny
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator

pytest.importorskip("plumed")

from ase.calculators.plumed import Plumed

import uncv.openmm
import uncv.plugin
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import PlumedError
from uncv.export import export
from uncv.plumed import PlumedDriver, PlumedSettings
from uncv.uncertainty import EnsembleUncertainty, GMMUncertainty, GradientUncertainty
from uncv.units import uncertainty_in_openmm

KJ = tiny.KJ
KCAL = 4.184  # kJ/mol, by definition
MOLECULE = tiny.frames("CH3OH", 3)
CRYSTAL = tiny.crystal(2)
KINDS = {
    "energies": lambda: EnsembleUncertainty("energy"),
    "forces": lambda: EnsembleUncertainty("forces"),
    "atomic energies": lambda: EnsembleUncertainty("atomic_energy"),
    "posterior": lambda: GradientUncertainty(),
    "mixture": lambda: GMMUncertainty(),
}
U = "u: UNCERTAINTY MODEL=cv.pt ATOMS=1-{atoms} "


@pytest.fixture(scope="session")
def library() -> Path:
    """The plugin, built once for these sources and kept below build/."""
    folder = Path(__file__).resolve().parents[1] / "build" / "plugin"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNCV_PLUGIN_DIR", os.environ.get("UNCV_PLUGIN_DIR", str(folder)))
        return uncv.plugin.build()


class Host(NamedTuple):
    """A folder where PLUMED runs on a trajectory."""

    folder: Path
    library: Path

    def script(self, text: str, data: Dataset, **more) -> str:
        return f"LOAD FILE={self.library}\n" + text.format(atoms=data.numbers.shape[1], **more)

    def drive(self, text: str, data: Dataset, *options: str, unit: str = "A") -> None:
        """Run plumed driver on the frames, its files into the folder."""
        done = self.attempt(text, data, *options, unit=unit)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def attempt(self, text: str, data: Dataset, *options: str, unit: str = "A"):
        cells = data.cell if data.pbc.all() else np.zeros((len(data), 3, 3))
        lines = []
        for x, cell in zip(data.positions, cells, strict=True):
            lines += [str(len(x)), " ".join(f"{v:.17g}" for v in cell.ravel())]
            lines += ["X " + " ".join(f"{v:.17g}" for v in row) for row in x]
        (self.folder / "t.xyz").write_text("\n".join(lines) + "\n")
        (self.folder / "plumed.dat").write_text(self.script(text, data))
        program = shutil.which("plumed", path=Path(sys.executable).parent) or "plumed"
        command = [program, "driver", "--ixyz", "t.xyz", "--length-units", unit, *options]
        return subprocess.run(
            [*command, "--plumed", "plumed.dat"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def columns(self, name: str) -> np.ndarray:
        """What PRINT or DUMPDERIVATIVES wrote, without the time."""
        return np.loadtxt(self.folder / name, ndmin=2)[:, 1:]

    def derivatives(self, data: Dataset, name: str = "deriv") -> tuple[np.ndarray, np.ndarray]:
        """Derivatives by positions (F, A, 3, values) and box (F, 3, 3, values)."""
        frames, atoms = len(data), data.numbers.shape[1]
        rows = self.columns(name)[:, 1:].reshape(frames, 3 * atoms + 9, -1)
        by_positions, by_box = rows[:, :-9], rows[:, -9:]
        return by_positions.reshape(frames, atoms, 3, -1), by_box.reshape(frames, 3, 3, -1)


@pytest.fixture
def host(tmp_path, library) -> Host:
    return Host(tmp_path, library)


def exported(host: Host, data: Dataset, cv: UncertaintyCV | None = None) -> UncertaintyCV:
    """A collective variable and its file cv.pt."""
    path = host.folder / "cv.pt"
    if cv is not None:
        export(cv, data[[0]], path)
        return cv
    path.write_bytes(usual_file(tuple(data.numbers[0]), bool(data.pbc.all())))
    return tiny.cv()


@functools.cache
def usual_file(numbers: tuple[int, ...], periodic: bool) -> bytes:
    """The file of the usual collective variable, which many tests read."""
    like = Dataset(numbers, np.eye(len(numbers), 3)[None], cell=np.eye(3) if periodic else None)
    with tempfile.TemporaryDirectory() as folder:
        return export(tiny.cv(), like, Path(folder) / "cv.pt").read_bytes()


def close(found, expected, part: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=part * np.abs(expected).max())


def boxed(data: Dataset, cell) -> Dataset:
    """The same atoms in a box."""
    return Dataset(data.numbers, data.positions, cell=np.asarray(cell, dtype=float))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [MOLECULE, CRYSTAL], ids=["molecule", "crystal"])
def test_values_and_derivatives_are_those_of_evaluate(host, kind, data):
    potential = tiny.potential()
    fitted = KINDS[kind]().fit(potential, tiny.frames("CH3CONH2", 8))
    cv = exported(host, data, UncertaintyCV(potential, fitted))
    host.drive(
        U + "ENERGY\nPRINT ARG=u.* FILE=COLVAR FMT=%.15g\n"
        "DUMPDERIVATIVES ARG=u.u,u.energy FILE=deriv FMT=%.15g\n",
        data,
    )
    result, unit = cv.evaluate(data), uncertainty_in_openmm(cv.kind)
    values = host.columns("COLVAR")
    np.testing.assert_allclose(values[:, 0], result.uncertainty * unit, rtol=1e-6)
    np.testing.assert_allclose(values[:, 1], result.energy * KJ, rtol=1e-6)
    by_positions, by_box = host.derivatives(data)
    close(by_positions[..., 0], 10 * unit * result.uncertainty_gradient)
    close(by_positions[..., 1], -10 * KJ * result.forces)
    if data is CRYSTAL:  # PLUMED's virial is minus the derivative by a strain
        volume = np.abs(np.linalg.det(data.cell))[:, None, None]
        close(by_box[..., 0], -volume * unit * result.uncertainty_stress)
        close(by_box[..., 1], -volume * KJ * result.stress)


@pytest.mark.parametrize("reduce", ["mean", "softmax"])
def test_largest_atomic_uncertainty(host, reduce):
    cv = exported(host, MOLECULE, tiny.cv("atomic_energy", reduce))
    host.drive(U + "ATOMIC_MAX\nPRINT ARG=u.u,u.max FILE=COLVAR FMT=%.15g\n", MOLECULE)
    result, found = cv.evaluate(MOLECULE), host.columns("COLVAR")
    np.testing.assert_allclose(found[:, 0], result.uncertainty * KJ, rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], result.atomic_uncertainty.max(axis=1) * KJ, rtol=1e-9)


SOLVATED = boxed(MOLECULE[:1], [[9, 0, 0], [2, 8, 0], [-1, 3, 7]])


@pytest.mark.parametrize(
    "data", [MOLECULE[:1], SOLVATED, CRYSTAL[:1]], ids=["molecule", "molecule in a box", "crystal"]
)
def test_derivatives_are_plumeds_numerical_ones(host, data):
    exported(host, MOLECULE if data is SOLVATED else data, tiny.cv("atomic_energy"))
    host.drive(
        U + "ENERGY ATOMIC_MAX\n"
        "n: UNCERTAINTY MODEL=cv.pt ATOMS=1-{atoms} ENERGY ATOMIC_MAX NUMERICAL_DERIVATIVES\n"
        "DUMPDERIVATIVES ARG=u.u,u.energy,u.max,n.u,n.energy,n.max FILE=deriv FMT=%.12g\n",
        data,
    )
    by_positions, by_box = host.derivatives(data)
    found = [by_positions, by_box] if data.pbc.all() else [by_positions]  # no box, none by it
    for derivative in found:
        assert np.abs(derivative[..., :3]).min(axis=-1).max() > 0.1
        close(derivative[..., 3:], derivative[..., :3], 3e-6)


@pytest.mark.parametrize(
    "data", [MOLECULE[:1], SOLVATED, CRYSTAL[:1]], ids=["molecule", "molecule in a box", "crystal"]
)
def test_forces_of_a_bias_are_those_of_its_energy(host, data):
    exported(host, MOLECULE if data is SOLVATED else data)
    bias = U + "\nRESTRAINT ARG=u AT=10 KAPPA=2 SLOPE=-3\n"
    host.drive(bias, data, "--debug-forces", "forces")
    analytic, numerical = host.columns("forces").T
    if not data.pbc.all():  # without a box PLUMED has no numerical derivative by it
        analytic, numerical = analytic[:-9], numerical[:-9]
    assert np.abs(analytic).max() > 1.0
    close(numerical, analytic, 1e-5)


def test_atoms_of_a_larger_system_in_any_order(host):
    """The model's atoms 1 to 6 are atoms 8, 2, 5, 7, 1 and 4 of a system of eight."""
    cv, places = exported(host, MOLECULE), np.array([8, 2, 5, 7, 1, 4]) - 1
    x = np.full((1, 8, 3), 30.0)
    x[:, places] = MOLECULE.positions[:1]
    numbers = np.full(8, 1)
    numbers[places] = MOLECULE.numbers[0]
    host.drive(
        "u: UNCERTAINTY MODEL=cv.pt ATOMS=8,2,5,7,1,4 SPECIES=6,8,1,1,1,1\n"
        "RESTRAINT ARG=u AT=0 KAPPA=0 SLOPE=-3\n",
        Dataset(numbers, x),
        *("--dump-forces", "forces", "--dump-forces-fmt", "%.15g"),
    )
    found = np.loadtxt(host.folder / "forces", skiprows=2, usecols=(1, 2, 3))
    expected = np.zeros((8, 3))  # kJ/mol/Å, the driver's unit of length
    expected[places] = 3 * KJ * cv.evaluate(MOLECULE).uncertainty_gradient[0]
    close(found, expected)


def broken(data: Dataset, seed: int = 0) -> Dataset:
    """Every atom in another cell."""
    cells = np.random.default_rng(seed).integers(-2, 3, size=(*data.positions.shape[:2], 3))
    return Dataset(data.numbers, data.positions + cells @ data.cell, cell=data.cell)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 0, 3, 1, 4, 2)])
def test_a_molecule_broken_by_the_box_is_made_whole(host, order):
    order = list(order)
    data = boxed(
        Dataset(MOLECULE.numbers[:, order], MOLECULE.positions[:, order]), SOLVATED.cell[0]
    )
    cv = exported(host, Dataset(data.numbers, data.positions))
    result = cv.evaluate(Dataset(data.numbers, data.positions))
    host.drive(
        U + "\nn: UNCERTAINTY MODEL=cv.pt ATOMS=1-6 NOPBC\nPRINT ARG=u,n FILE=COLVAR FMT=%.15g\n"
        "DUMPDERIVATIVES ARG=u FILE=deriv FMT=%.15g\n",
        broken(data),
    )
    made_whole, as_it_came = host.columns("COLVAR").T
    np.testing.assert_allclose(made_whole, result.uncertainty * KJ, rtol=1e-9)
    assert np.abs(as_it_came - made_whole).min() > 1.0
    by_positions, by_box = host.derivatives(data)
    close(by_positions[..., 0], 10 * KJ * result.uncertainty_gradient)
    virial = -np.einsum("fia,fib->fab", data.positions, KJ * result.uncertainty_gradient)
    close(by_box[..., 0], virial)


def test_the_image_of_an_atom_does_not_matter_in_a_crystal(host):
    cv = exported(host, CRYSTAL)
    host.drive(
        U + "\nPRINT ARG=u FILE=COLVAR FMT=%.15g\nDUMPDERIVATIVES ARG=u FILE=deriv FMT=%.15g\n",
        broken(CRYSTAL),
    )
    result = cv.evaluate(CRYSTAL)
    volume = np.abs(np.linalg.det(CRYSTAL.cell))[:, None, None]
    np.testing.assert_allclose(host.columns("COLVAR")[:, 0], result.uncertainty * KJ, rtol=1e-9)
    close(host.derivatives(CRYSTAL)[1][..., 0], -volume * KJ * result.uncertainty_stress)


@pytest.mark.parametrize(
    ("of", "unit"), [("energy", KJ / KCAL), ("forces", KJ / KCAL), ("posterior", 1.0)]
)
def test_values_follow_the_units_of_the_input(host, of, unit):
    """kcal/mol and Å: an eV is KJ/KCAL of the one, an Å is one of the other."""
    cv = tiny.cv() if of == "posterior" else tiny.cv(of)
    if of == "posterior":
        fit = GradientUncertainty("distance").fit(cv.potential, tiny.frames("CH3OH", 8))
        cv = UncertaintyCV(cv.potential, fit)
    cv = exported(host, MOLECULE, cv)
    host.drive(
        "UNITS LENGTH=A ENERGY=kcal/mol\n" + U + "ENERGY\nPRINT ARG=u.* FILE=COLVAR FMT=%.15g\n"
        "DUMPDERIVATIVES ARG=u.u,u.energy FILE=deriv FMT=%.15g\n"
        "RESTRAINT ARG=u.u AT=0 KAPPA=0 SLOPE=-0.25\n",
        MOLECULE,
        *("--dump-forces", "forces", "--dump-forces-fmt", "%.15g"),
    )
    result, values = cv.evaluate(MOLECULE), host.columns("COLVAR")
    np.testing.assert_allclose(values[:, 0], result.uncertainty * unit, rtol=1e-9)
    np.testing.assert_allclose(values[:, 1], result.energy * KJ / KCAL, rtol=1e-9)
    by_positions, _ = host.derivatives(MOLECULE)
    close(by_positions[..., 0], unit * result.uncertainty_gradient)
    close(by_positions[..., 1], -KJ / KCAL * result.forces)
    # The driver converts back: SLOPE is an energy in kcal/mol, forces come in kJ/mol/Å.
    lines = (host.folder / "forces").read_text().splitlines()
    forces = [line.split()[1:] for line in lines if line.startswith("X")]
    expected = 0.25 * KCAL * unit * result.uncertainty_gradient
    close(np.array(forces, dtype=float).reshape(expected.shape), expected)


ERRORS = {
    "no file": ("u: UNCERTAINTY MODEL=none.pt ATOMS=1-6", "there is no file none.pt; expected one"),
    "number of atoms": (
        "u: UNCERTAINTY MODEL=cv.pt ATOMS=1-5",
        "cv.pt is for 6 atoms, ATOMS names 5; name the atoms of the model, in its order",
    ),
    "number of species": (
        U + "SPECIES=6,8",
        "ATOMS names 6 atoms, SPECIES 2; give one atomic number for each atom",
    ),
    "species": (
        U + "SPECIES=6,8,1,7,1,1",
        "cv.pt: atom 4 of the model has atomic number 1, SPECIES says 7; name the atoms in the",
    ),
    "device": (U + "DEVICE=tpu", "DEVICE=tpu is unknown; expected cpu or cuda"),
    "threads": (U + "THREADS=0", "THREADS=0: expected a positive number"),
    "natural units": ("UNITS NATURAL\n" + U, "UNITS NATURAL gives no scale to convert eV"),
    "no atomic values": (U + "ATOMIC_MAX", "cv.pt gives one uncertainty for all atoms together"),
    "torchscript": ("u: UNCERTAINTY MODEL=text ATOMS=1-6", "text is not a TorchScript file ("),
    "keyword": (U + "TEMP=300", "cannot understand the following words from the input line"),
}
PROMISES = {
    "nothing": (None, "cv.pt tells neither its units nor its atoms; write it again with: uncv exp"),
    "format": ("format x", "cv.pt: expected format uncv-torchscript, found x; write it again"),
    "older": ("version 1", "cv.pt has format version 1; expected 2; write it again with"),
    "newer": ("version 3", "format version 3; expected 2; build the plugin anew with: uncv plug"),
    "bad version": ("version two", "expected version to be a whole number, found two"),
    "length": ("positions_unit bohr", "expected positions_unit angstrom, found bohr"),
    "energy": ("energy_unit hartree", "expected energy_unit eV, found hartree"),
    "walkers": ("walkers 8", "cv.pt holds 8 walkers in one module; expected 1"),
    "kind": ("kind charge", "kind to be one of dimensionless, energy, force, found charge"),
    "dtype": ("dtype float16", "dtype to be one of float32, float64, found float16"),
    "periodic": ("periodic maybe", "periodic to be one of false, true, found maybe"),
    "per atom": ("per_atom 1", "per_atom to be one of false, true, found 1"),
    "numbers": ("numbers C O", "expected numbers to be the atomic numbers, found C O"),
    "absent": ("numbers", "cv.pt does not say its 'numbers'; write it again with"),
}


def drive_here(host: Host, text: str, data: Dataset = MOLECULE, folder: str = ".") -> float:
    """The bias of the first frame, by PLUMED inside this process."""
    with instance(host, text, data, folder) as driver:
        return bias_of(driver, data)


def instance(host: Host, text: str, data: Dataset, folder: str = ".") -> PlumedDriver:
    masses, place = np.ones(data.numbers.shape[1]), host.folder / folder
    return PlumedDriver(PlumedSettings(host.script(text, data), masses, directory=place))


def bias_of(driver: PlumedDriver, data: Dataset, step: int = 0) -> float:
    box = data.cell[0] / 10 if data.pbc.all() else None
    driver.begin(step, data.positions[0] / 10, box)
    return driver.finish({}).bias


RESTRAINT = "\nRESTRAINT ARG=u AT=0 KAPPA=1\n"


@pytest.mark.parametrize("case", ERRORS)
def test_input_that_cannot_work(host, case):
    line, message = ERRORS[case]
    exported(host, MOLECULE)
    (host.folder / "text").write_text("no")
    with pytest.raises(PlumedError, match=re.escape(message)):
        drive_here(host, line + RESTRAINT)


def test_cuda_where_there_is_none(host):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    exported(host, MOLECULE)
    version = torch.__version__.split("+")[0]
    with pytest.raises(PlumedError, match=rf"this libtorch \({version}\) finds no CUDA"):
        drive_here(host, U + "DEVICE=cuda" + RESTRAINT)


@pytest.mark.parametrize("case", PROMISES)
def test_file_that_promises_something_else(host, case):
    change, message = PROMISES[case]
    exported(host, MOLECULE)
    extra = {"uncv.txt": ""}
    module = torch.jit.load(host.folder / "cv.pt", _extra_files=extra)
    lines = dict(line.split(" ", 1) for line in extra["uncv.txt"].decode().splitlines())
    key, _, value = (change or "").partition(" ")
    lines[key] = value
    text = "".join(f"{k} {v}\n" for k, v in lines.items() if v)
    torch.jit.save(module, host.folder / "cv.pt", {} if change is None else {"uncv.txt": text})
    with pytest.raises(PlumedError, match=re.escape(message)):
        drive_here(host, U + RESTRAINT)


class Refuses(torch.nn.Module):
    """A module that fails when it is called."""

    @torch.jit.export
    def evaluate(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such structure")
        return positions


@pytest.mark.parametrize(
    ("module", "reason"), [(Refuses, "no such structure"), (torch.nn.Identity, "'evaluate' is not")]
)
def test_a_model_that_fails(host, module, reason):
    exported(host, MOLECULE)
    extra = {"uncv.txt": ""}
    torch.jit.load(host.folder / "cv.pt", _extra_files=extra)
    text = extra["uncv.txt"].decode()
    torch.jit.save(torch.jit.script(module()), host.folder / "cv.pt", {"uncv.txt": text})
    with pytest.raises(PlumedError, match=rf"u at step 0: cv\.pt failed: [^$]*{reason}"):
        drive_here(host, U + RESTRAINT)


def test_structures_that_cannot_be(host):
    exported(host, MOLECULE)
    on_a_heap = Dataset(MOLECULE.numbers[:1], np.eye(6, 3)[None])
    with pytest.raises(PlumedError, match=r"u at step 0: cv\.pt: the uncertainty or .* not finite"):
        drive_here(host, U + RESTRAINT, on_a_heap)
    exported(host, CRYSTAL)
    with pytest.raises(PlumedError, match=r"cv\.pt is for a periodic system and needs .*NOPBC out"):
        drive_here(host, U + "NOPBC" + RESTRAINT, CRYSTAL)
    free = Dataset(CRYSTAL.numbers, CRYSTAL.positions)
    with pytest.raises(PlumedError, match=r"u: cv\.pt is for a periodic .* engine gives no box"):
        drive_here(host, U + RESTRAINT, free)


def test_an_uncertainty_without_gradient_is_an_error(host):
    potential = tiny.same_members()
    exported(host, MOLECULE, UncertaintyCV(potential, EnsembleUncertainty("atomic_energy")))
    with pytest.raises(PlumedError, match="the gradient of the uncertainty is zero on every atom"):
        drive_here(host, U + RESTRAINT)


def test_an_uncertainty_whose_gradient_jumps_can_be_printed_alone(host):
    cv = exported(host, MOLECULE, tiny.cv("atomic_energy", "max"))
    with pytest.raises(PlumedError, match="the gradient of an uncertainty reduced by 'max' jumps"):
        drive_here(host, U + RESTRAINT)
    host.drive(U + "\nPRINT ARG=u FILE=COLVAR FMT=%.15g\n", MOLECULE)
    found = host.columns("COLVAR")[:, 0]
    np.testing.assert_allclose(found, cv.evaluate(MOLECULE).uncertainty * KJ, rtol=1e-9)


def test_species_threads_and_weights_in_float32(host):
    cv = tiny.cv()
    cv.potential.to(torch.float32)
    exported(host, MOLECULE, cv)
    before = torch.get_num_threads()
    found = drive_here(host, U + f"SPECIES=6,8,1,1,1,1 THREADS={before + 1}" + RESTRAINT)
    assert torch.get_num_threads() == before + 1  # there is one torch in the process
    torch.set_num_threads(before)
    assert found == pytest.approx(0.5 * (cv.evaluate(MOLECULE).uncertainty[0] * KJ) ** 2, rel=1e-4)


def test_several_instances_in_one_process(host):
    """Walkers: the plugin is loaded again and again, and used after another instance closed."""
    expected = 0.5 * (exported(host, MOLECULE).evaluate(MOLECULE).uncertainty[0] * KJ) ** 2
    text = U.replace("cv.pt", str(host.folder / "cv.pt")) + RESTRAINT
    one, two = (instance(host, text, MOLECULE, folder) for folder in "12")
    found = [bias_of(one, MOLECULE), bias_of(two, MOLECULE)]
    one.close()
    found.append(bias_of(two, MOLECULE, step=1))
    two.close()
    found.append(drive_here(host, text))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("data", [MOLECULE, CRYSTAL], ids=["molecule", "crystal"])
def test_ase_forces_and_stress_are_those_of_the_bias(host, data):
    """ASE's own client of PLUMED, on a calculator without forces."""
    u = exported(host, data).evaluate(data).uncertainty[0]
    crystal = data is CRYSTAL
    atoms = Atoms(data.numbers[0], data.positions[0], cell=data.cell[0] if crystal else None)
    atoms.pbc = crystal
    lines = [  # ASE hands over eV and Å, so u is in eV
        f"UNITS LENGTH=A TIME={1 / (1000 * units.fs)} ENERGY={units.mol / units.kJ}",
        f"LOAD FILE={host.library}",
        f"u: UNCERTAINTY MODEL={host.folder / 'cv.pt'} ATOMS=1-{len(atoms)}",
        "RESTRAINT ARG=u AT=0.1 KAPPA=3",
    ]
    start, cell = atoms.positions.copy(), atoms.cell.array.copy()
    with Plumed(Free(), lines, timestep=1.0, atoms=atoms, log=str(host.folder / "log")) as plumed:
        atoms.calc = plumed

        def energy(x: np.ndarray, strain: np.ndarray) -> float:
            stretch = np.eye(3) + strain
            if crystal:
                atoms.set_cell(cell @ stretch)
            atoms.positions[:] = x @ stretch
            return atoms.get_potential_energy()

        straight = np.zeros((3, 3))
        slope = tiny.central_differences(lambda x: energy(x, straight), start)
        by_strain = tiny.central_differences(lambda e: energy(start, e), straight)
        assert energy(start, straight) == pytest.approx(1.5 * (u - 0.1) ** 2, rel=1e-7)
        close(atoms.get_forces(), -slope)
        if crystal:
            close(atoms.get_stress(voigt=False), by_strain / atoms.get_volume())


class Free(Calculator):
    """No forces at all."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def trajectory(script: str, cv: UncertaintyCV, data: Dataset, steps: int) -> np.ndarray:
    """Positions (A, 3) in Å after some Verlet steps with a bias by PLUMED."""
    box = data.cell[0] / 10 if data.pbc.all() else None
    plumed = uncv.openmm.Plumed(script, timestep=0.0005)
    system = uncv.openmm.create_system(tiny.topology(data, box), cv, plumed=plumed)
    integrator = openmm.VerletIntegrator(0.0005)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(data.positions[0] / 10)
    context.setVelocitiesToTemperature(300.0, 7)
    integrator.step(steps)
    found = context.getState(positions=True).getPositions(asNumpy=True)
    return 10 * found._value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "steps"), [(MOLECULE, 1000), (CRYSTAL, 200)], ids=["molecule", "crystal"]
)
def test_openmm_runs_alike_by_plugin_and_by_extracv(host, data, steps):
    cv = exported(host, data)
    level = cv.evaluate(data).uncertainty[0] * KJ
    restraint = f"RESTRAINT ARG=u AT={0.8 * level} KAPPA=0.2\n"
    plugin = U.replace("cv.pt", str(host.folder / "cv.pt")) + "\n" + restraint
    by_plugin = trajectory(host.script(plugin, data), cv, data, steps)
    by_extracv = trajectory("u: EXTRACV NAME=uncertainty\n" + restraint, cv, data, steps)
    np.testing.assert_allclose(by_plugin, by_extracv, rtol=0, atol=1e-6)
    assert np.abs(by_plugin - data.positions[0]).max() > 0.05
