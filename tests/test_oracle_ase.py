"""Calculators by name: a class by import path, a function in a file, one for each structure."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.importing import load_object
from uncv.oracles import AseOracle, CalculatorSource, ase_calculator

SPRINGS = """
import numpy as np
from ase.calculators.calculator import Calculator

made = []

class Springs(Calculator):
    '''Bonds of the lengths that the structure has which it is made for.'''
    implemented_properties = ["energy", "forces"]

    def __init__(self, atoms, strength=1.0):
        super().__init__()
        made.append(len(atoms))
        self.rest, self.strength = atoms.positions.copy(), strength

    def calculate(self, atoms=None, properties=("energy",), changes=()):
        super().calculate(atoms, properties, changes)
        shift = atoms.positions - self.rest
        self.results = {"energy": 0.5 * self.strength * (shift**2).sum(),
                        "forces": -self.strength * shift}

def make(atoms, strength):
    return Springs(atoms, strength)

def forgetful(atoms):
    return LennardJones()

number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "springs.py"
    path.write_text(SPRINGS)
    return path


def test_a_class_by_its_path_is_called_with_the_arguments():
    oracle = ase_calculator("ase.calculators.lj.LennardJones", {"sigma": 1.1, "epsilon": 0.2})
    frames = tiny.mixed()
    found = oracle.label(frames)
    expected = AseOracle(LennardJones(sigma=1.1, epsilon=0.2)).label(frames)
    np.testing.assert_array_equal(found.energy, expected.energy)
    np.testing.assert_array_equal(found.forces, expected.forces)
    assert found.info["level_of_theory"][0] == "LennardJones(epsilon=0.2, sigma=1.1)"
    assert found.info["software"][0].startswith("ase 3.")


def test_a_calculator_of_a_structure_is_made_for_it_once(file):
    frames = tiny.frames("CH3OH", 3)
    oracle = ase_calculator(f"{file}:Springs", {"strength": 2.0}, structure=frames[0])
    found = oracle.label(frames)
    shift = frames.positions - frames.positions[0]
    np.testing.assert_allclose(found.energy, (shift**2).sum(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(found.forces, -2.0 * shift, atol=1e-12)
    assert found.info["level_of_theory"][0] == "springs.py:Springs(strength=2.0)"
    assert load_object(f"{file}:made") == [6]
    other = oracle.label(tiny.frames("NH3"))
    assert (
        "not in the order of, the 6 atoms the calculator was made for"
        in (other.info["label_error"][0])
    )


@pytest.mark.parametrize("each_frame", [False, True])
def test_without_a_structure_each_frame_has_its_own(file, each_frame):
    oracle = ase_calculator(f"{file}:make", {"strength": 1.0}, each_frame=each_frame)
    frames = concatenate([tiny.frames("CH3OH"), tiny.frames("NH3")])
    found = oracle.label(frames)
    np.testing.assert_allclose(found.energy, 0.0)
    assert load_object(f"{file}:made") == [6, 4]
    assert oracle.calculator is None


def test_a_calculator_may_be_made_for_each_frame(file):
    frames = tiny.frames("CH3OH", 2)
    oracle = ase_calculator(
        f"{file}:Springs", structure=frames[0], each_frame=True, level_of_theory="springs"
    )
    found = oracle.label(frames)
    assert found.energy[1] > 0  # made for the structure all the same
    assert found.info["level_of_theory"][0] == "springs"
    assert oracle.calculator is None


def test_sources_travel_as_their_text(file):
    class Unpicklable(EMT):
        def __reduce__(self):
            raise TypeError("not this one")

    frames = tiny.frames("CH3OH", 2)
    oracle = ase_calculator(f"{file}:Springs", structure=frames[0])
    oracle.label(frames)
    oracle._calculator = Unpicklable()
    copy = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(
        copy.label(frames).energy, ase_calculator(f"{file}:Springs", structure=frames[0])
        .label(frames).energy
    )  # fmt: skip
    given = pickle.loads(pickle.dumps(AseOracle(LennardJones(), "toy")))
    assert given.level_of_theory == "toy"


def test_identity_tells_calculators_apart(file, tmp_path):
    frames = tiny.frames("CH3OH", 2)

    def identity(path, arguments=None, structure=None):
        return ase_calculator(path, arguments, structure=structure).identity

    names = [
        identity("ase.calculators.lj.LennardJones"),
        identity("ase.calculators.lj.LennardJones", {"sigma": 1.5}),
        identity(f"{file}:Springs"),
        identity(f"{file}:Springs", structure=frames[0]),
        identity(f"{file}:Springs", structure=frames[1]),
    ]
    before = names[2]
    file.write_text(SPRINGS + "\n# changed\n")
    names.append(identity(f"{file}:Springs"))
    assert len(set(names)) == 6
    file.write_text(SPRINGS)
    assert identity(f"{file}:Springs") == before


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("ase.calculators.emt.EMTT", {}, "ase.calculators.emt has no 'EMTT'; did you mean 'EMT'"),
        ("{file}:number", {}, "springs.py:number cannot be called; name a class or a function"),
        ("ase.calculators.lj.LennardJones", {"rc": object()}, "are not numbers, text, lists"),
        ("{file}:make", {"stiffness": 1}, r"make\(stiffness=1\) cannot be made \(TypeError: .*let"),
        ("{file}:forgetful", {}, "cannot be made .NameError: name 'LennardJones' is not defined"),
        ("math.floor", {"x": 1}, r"floor\(x=1\) cannot be made \(TypeError"),
        ("builtins.dict", {}, "dict gives no energy and no forces; expected a calculator of ASE"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_of_a_name(file, path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ase_calculator(path.format(file=file), arguments, structure=tiny.frames("H2O"))


def test_a_structure_is_one_frame_and_a_stress_must_be_there(file):
    with pytest.raises(ConfigError, match="structure has 2 frames; give one"):
        CalculatorSource(f"{file}:make", structure=tiny.frames("H2O", 2))
    with pytest.raises(ConfigError, match="Springs gives no stress; leave stress= out"):
        ase_calculator(f"{file}:Springs", structure=tiny.frames("H2O"), stress=True)


def test_a_stress_of_a_calculator_without_one_is_a_failed_frame(file):
    crystal = tiny.crystal()
    found = ase_calculator(f"{file}:Springs", stress=True).label(crystal)
    assert "stress" in found.info["label_error"][0]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the file leaves one open
def test_a_force_field_of_a_crystal_by_its_file(data_dir, tmp_path):
    """MIL-53(Al): a calculator whose bonds are found in the structure it is made for."""
    from uncv.io import read

    folder = data_dir / "mil53al"
    for name in ("quickff_openmm.py", "pars.txt"):
        shutil.copy(folder / "quickff" / name, tmp_path)
    structure = read(next(iter(sorted((folder / "structures").glob("*cp*xyz")))), slice(0, 1))
    oracle = ase_calculator(
        f"{tmp_path / 'quickff_openmm.py'}:QFF", {"rep": [1, 3, 3]}, structure=structure
    )
    shaken = structure.positions + 0.02 * np.random.default_rng(0).normal(size=(1, 76, 3))
    frame = Dataset(structure.numbers, shaken, cell=structure.cell)
    found = pickle.loads(pickle.dumps(oracle)).label(frame)
    assert found.info["label_error"][0] == ""
    step, moved = 1e-3, np.repeat(shaken, 2, axis=0)
    moved[:, 7, 1] += [step, -step]
    pair = Dataset(structure.numbers[0], moved, cell=structure.cell[0])
    atoms = [Atoms(structure.numbers[0], x, cell=structure.cell[0], pbc=True) for x in moved]
    calculator = oracle.source.make(atoms[0])
    energies = [calculator.get_potential_energy(a) for a in atoms]
    np.testing.assert_allclose(oracle.label(pair).energy, energies, atol=1e-4)
    slope = -(energies[0] - energies[1]) / (2 * step)
    assert found.forces[0, 7, 1] == pytest.approx(slope, abs=5e-3)
