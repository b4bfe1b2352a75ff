"""Variables and residues of trajectories: against MDTraj, formulas, and molecules made here."""

from __future__ import annotations

import json

import mdtraj
import numpy as np
import pytest

from uncv.analysis import (
    Angle,
    Axis,
    Column,
    Distance,
    ResidueTorsion,
    Torsion,
    Volume,
    dihedrals,
    is_trajectory,
    joined,
    load_topology,
    parse_variable,
    phi_psi,
    ramachandran,
    ramachandran_by_residue,
    read_colvar,
    resolved,
    samples_of_colvar,
    samples_of_frames,
    samples_of_trajectory,
    trajectory_topology,
)
from uncv.analysis import trajectory as reading
from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError


def peptide(chains=1):
    """A backbone of ALA2 GLY3 SER4 between ACE and NME, chain after chain, without geometry."""
    topology = mdtraj.Topology()
    backbone = {"ACE": ["CH3", "C", "O"], "ALA": ["N", "CA", "CB", "C", "O"],
                "GLY": ["N", "CA", "C", "O"], "SER": ["N", "CA", "CB", "OG", "C", "O"],
                "NME": ["N", "C"]}  # fmt: skip
    for chain in range(chains):
        place = topology.add_chain("AB"[chain])
        for number, (name, atoms) in enumerate(backbone.items(), start=1):
            residue = topology.add_residue(name, place, resSeq=number)
            for atom in atoms:
                element = mdtraj.element.Element.getBySymbol(atom[0])
                topology.add_atom(atom, element, residue)
    return topology


@pytest.fixture
def run(rng):
    topology = peptide()
    xyz = rng.normal(size=(40, topology.n_atoms, 3)).astype(np.float32)
    return mdtraj.Trajectory(xyz, topology, time=2.0 * np.arange(40))


def test_phi_and_psi_of_residues_are_mdtrajs(run):
    found = phi_psi(run.topology)
    assert [one.residue for one in found] == ["ALA2", "GLY3", "SER4"]
    assert [t.name for t in found[0].torsions] == ["φ ALA2", "ψ ALA2"]
    phi, psi = mdtraj.compute_phi(run)[0], mdtraj.compute_psi(run)[0]
    for n, one in enumerate(found):
        assert one.torsions[0].atoms == tuple(phi[n])
        assert one.torsions[1].atoms == tuple(psi[n])
    (glycine,) = phi_psi(run.topology, ["gly3"])
    assert glycine == found[1]


@pytest.mark.parametrize("kind", ["phi", "psi", "omega", "chi1"])
def test_torsions_by_name_have_the_atoms_of_their_residue(run, kind):
    (found,) = resolved([ResidueTorsion(kind, "SER4")], run.topology)
    names = [str(run.topology.atom(a)) for a in found.atoms]
    expected = {"phi": ["GLY3-C", "SER4-N", "SER4-CA", "SER4-C"],
                "psi": ["SER4-N", "SER4-CA", "SER4-C", "NME5-N"],
                "omega": ["GLY3-CA", "GLY3-C", "SER4-N", "SER4-CA"],
                "chi1": ["SER4-N", "SER4-CA", "SER4-CB", "SER4-OG"]}  # fmt: skip
    assert names == expected[kind]


@pytest.mark.parametrize(
    ("name", "chains", "message"),
    [
        ("ALA7", 1, "no residue ALA7; did you mean ALA2"),
        ("XYZ", 1, "no residue XYZ; there are ACE1, ALA2, GLY3, SER4, NME5"),
        ("ALA2", 2, "2 residues are named ALA2; say which one: A:ALA2, B:ALA2"),
        ("ACE1", 1, "residue ACE1 has no phi"),
    ],
)
def test_residues_that_are_not_there(name, chains, message):
    with pytest.raises(DataError, match=message):
        phi_psi(peptide(chains), [name])


def test_residues_of_two_chains():
    topology = peptide(2)
    assert [one.residue for one in phi_psi(topology)][:4] == [
        "A:ALA2",
        "A:GLY3",
        "A:SER4",
        "B:ALA2",
    ]
    (second,) = phi_psi(topology, ["B:ALA2"])
    assert second.torsions[0].atoms[1] > 15
    assert phi_psi(topology, ["1:ALA2"]) == (second,)
    with pytest.raises(DataError, match="no residue of the topology has φ and ψ"):
        phi_psi(mdtraj.Topology())
    with pytest.raises(DataError, match="phi of ALA2 is found by a topology"):
        resolved([ResidueTorsion("phi", "ALA2")], None)
    with pytest.raises(DataError, match="'chi9' is no torsion"):
        ResidueTorsion("chi9", "ALA2")


def test_maps_by_residue_are_those_of_their_torsions(run):
    maps = ramachandran_by_residue(run, bins=6)
    assert [one.residue for one in maps] == ["ALA2", "GLY3", "SER4"]
    angles = np.concatenate(
        [mdtraj.compute_phi(run)[1][:, 1:2], mdtraj.compute_psi(run)[1][:, 1:2]], 1
    )
    expected = np.histogram2d(*angles.T, bins=6, range=[(-np.pi, np.pi)] * 2)[0]
    np.testing.assert_array_equal(maps[1].map.counts, expected)
    one = ramachandran(run, bins=6, residue="GLY3")
    np.testing.assert_array_equal(one.counts, expected)
    assert [m.residue for m in ramachandran_by_residue(run, ["SER4"], bins=6)] == ["SER4"]
    with pytest.raises(DataError, match="by the topology of an MDTraj trajectory"):
        ramachandran(np.zeros((3, 2)), residue="ALA2")


def save_h5(path, run):
    """As MDTraj's format says: coordinates and time, and a topology as JSON."""
    h5py = pytest.importorskip("h5py")
    chains = [
        {"index": c.index, "chain_id": c.chain_id, "residues": [
            {"index": r.index, "name": r.name, "resSeq": r.resSeq, "segmentID": "", "atoms": [
                {"index": a.index, "name": a.name, "element": a.element.symbol} for a in r.atoms
            ]} for r in c.residues]} for c in run.topology.chains]  # fmt: skip
    with h5py.File(path, "w") as file:
        file["coordinates"], file["time"] = run.xyz, run.time
        text = json.dumps({"chains": chains, "bonds": [[0, 1]]}).encode()
        file.create_dataset("topology", data=np.array([text]))


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr", ".pdb", ".h5"])
def test_trajectories_are_read_a_part_at_a_time(run, tmp_path, monkeypatch, suffix):
    """With parts of seven frames; XTC keeps a thousandth of a nm, PDB as much of an Å."""
    monkeypatch.setattr(reading, "CHUNK", 7 * 3 * run.n_atoms)
    path = tmp_path / f"run{suffix}"
    assert is_trajectory(path)
    save_h5(path, run) if suffix == ".h5" else run.save(str(path))
    variables = [ResidueTorsion("phi", "GLY3"), Distance((0, 5)), Angle((0, 3, 5))]
    given = run.topology if suffix in (".dcd", ".xtc", ".trr") else None
    samples = samples_of_trajectory(path, variables, given)
    atoms = phi_psi(run.topology, ["GLY3"])[0].torsions[0].atoms
    expected = np.column_stack([
        mdtraj.compute_dihedrals(run, [atoms])[:, 0],
        10 * mdtraj.compute_distances(run, [[0, 5]])[:, 0],
        mdtraj.compute_angles(run, [[0, 3, 5]])[:, 0],
    ])  # fmt: skip
    difference = samples.values - expected
    difference[:, 0] = (difference[:, 0] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(difference).max() < (0.05 if suffix in (".xtc", ".pdb") else 1e-4)
    assert [axis.unit for axis in samples.axes] == ["rad", "Å", "rad"]
    assert samples.open_axes == (1,)
    timed = suffix in (".xtc", ".trr", ".h5")
    assert samples.interval_fs == (pytest.approx(2000.0) if timed else None)
    assert set(samples.walker) == {0}


def test_topologies_of_files(run, tmp_path):
    run[0].save_pdb(str(tmp_path / "t.pdb"))
    save_h5(tmp_path / "t.h5", run)
    for name in ("t.pdb", "t.h5"):
        found = load_topology(tmp_path / name)
        assert [str(r) for r in found.residues] == ["ACE1", "ALA2", "GLY3", "SER4", "NME5"]
        assert trajectory_topology(tmp_path / name).n_atoms == run.n_atoms
        assert found.atom(4).element.symbol == "C"
    assert load_topology(tmp_path / "t.h5").n_bonds == 1
    with pytest.raises(FileNotFoundError, match="there is no topology file"):
        load_topology(tmp_path / "none.pdb")
    (tmp_path / "bad.pdb").write_text("no pdb")
    (tmp_path / "bad.h5").write_text("no hdf5")
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_topology(tmp_path / "bad.h5")
    with pytest.raises(DataError, match="stores positions only; give a topology"):
        trajectory_topology(tmp_path / "run.dcd")


def test_trajectories_that_are_not_sound(run, tmp_path):
    phi = [Torsion((0, 1, 2, 3))]
    other = run.topology.subset(range(10))
    for suffix in (".dcd", ".xtc"):
        run.save(str(tmp_path / f"a{suffix}"))
        with pytest.raises(DataError, match=f"holds {run.n_atoms} atoms and the topology 10"):
            samples_of_trajectory(tmp_path / f"a{suffix}", phi, other)
    save_h5(tmp_path / "a.h5", run)
    with pytest.raises(DataError, match=f"holds {run.n_atoms} atoms and the topology 10"):
        samples_of_trajectory(tmp_path / "a.h5", phi, other)
    (tmp_path / "empty.dcd").write_bytes(b"")
    with pytest.raises(FileFormatError, match="is empty; expected at least one frame"):
        samples_of_trajectory(tmp_path / "empty.dcd", phi, run.topology)
    (tmp_path / "damaged.xtc").write_bytes(b"x" * 200)
    with pytest.raises(FileFormatError, match="is it damaged"):
        samples_of_trajectory(tmp_path / "damaged.xtc", phi, run.topology)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        samples_of_trajectory(tmp_path / "none.dcd", phi, run.topology)
    broken = run[:]
    broken.xyz[3, 2, 1] = np.nan
    broken.save(str(tmp_path / "nan.dcd"))
    with pytest.raises(DataError, match="NaN or infinite in frame 3 and 0 others"):
        samples_of_trajectory(tmp_path / "nan.dcd", phi, run.topology)
    with pytest.raises(DataError, match="atom 99 is asked for, but a frame has"):
        samples_of_trajectory(tmp_path / "a.dcd", [Distance((0, 99))], run.topology)
    with pytest.raises(DataError, match="no column 'u'"):
        samples_of_trajectory(tmp_path / "a.dcd", [Column("u")], run.topology)
    with pytest.raises(DataError, match="no cell, and so no volume"):
        samples_of_trajectory(tmp_path / "a.dcd", [Volume()], run.topology)


def test_variables_of_frames_in_a_cell(alanine):
    """A molecule broken across the faces of a sheared cell has the geometry of the whole one."""
    start = alanine.start
    cell = np.array([[9.0, 0.0, 0.0], [2.0, 10.0, 0.0], [1.0, -1.0, 11.0]])
    broken = ((start.positions + 5.0) @ np.linalg.inv(cell) % 1.0) @ cell
    inside = Dataset(start.numbers[0], broken, cell=cell, info={"q": np.array([1.5])})
    for variable in (Torsion((4, 6, 8, 14)), Angle((4, 6, 8)), Distance((4, 8))):
        assert variable.values(inside) == pytest.approx(variable.values(start), abs=1e-5)
    a, b, c = start.positions[0, [4, 6, 8]]
    assert Distance((4, 8)).values(start)[0] == pytest.approx(np.linalg.norm(a - c), abs=1e-5)
    cosine = (a - b) @ (c - b) / np.linalg.norm(a - b) / np.linalg.norm(c - b)
    assert Angle((4, 6, 8)).values(start)[0] == pytest.approx(np.arccos(cosine), abs=1e-5)
    assert Volume().values(inside)[0] == pytest.approx(9 * 10 * 11)
    assert Column("q").values(inside).tolist() == [1.5]
    assert dihedrals(inside, periodic=True) == pytest.approx(dihedrals(start), abs=1e-5)
    assert len(Distance((0, 1)).values(start[[]])) == 0


def test_samples_of_variables_know_time_pieces_and_limits(alanine):
    """Two walkers; walker 0 stops at its second frame; the second round begins a new piece."""
    start = alanine.start
    info = {
        "walker": [0, 1, 0, 1, 0, 1, 0, 1], "round": [1] * 6 + [2] * 2,
        "step": [25, 25, 31, 50, 50, 75, 25, 25],
        "stop_reason": ["", "", "far", "", "", "", "", ""],
        "uncertainty": np.linspace(0.1, 0.8, 8),
    }  # fmt: skip
    frames = Dataset(start.numbers[0], np.repeat(start.positions, 8, axis=0), info=info)
    found = samples_of_frames(
        frames, variables=[Column("uncertainty", "u"), Volume()][:1], timestep_fs=2.0
    )
    assert found.values.ravel() == pytest.approx([0.1, 0.5, 0.7, 0.2, 0.4, 0.6, 0.8])
    assert found.walker.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert len(set(found.piece)) == 5
    assert np.flatnonzero(np.diff(found.piece)).tolist() == [0, 1, 2, 5]
    assert (found.steps, found.interval_fs) == (25.0, 50.0)
    assert found.notes == (
        "walkers hold 3 to 4 frames and count accordingly",
        "1 frames at which walkers stopped were left out",
    )
    (axis,) = found.axes
    assert (axis.name, axis.low, axis.high, axis.periodic) == ("u", 0.1, 0.8, False)
    assert found.open_axes == (0,)
    both = joined([found, found])
    assert len(set(both.pieces)) == 10
    assert both.interval_fs == 50.0
    assert both.pick([0]).axes == both.axes
    other = samples_of_frames(frames, variables=[Column("uncertainty", "u")], timestep_fs=4.0)
    with pytest.raises(DataError, match="50 to 100 fs apart"):
        joined([found, other])
    with pytest.raises(DataError, match="no column 'v', only round, step, stop_reason"):
        samples_of_frames(frames, variables=[Column("v")])
    with pytest.raises(DataError, match="'stop_reason' of the frames is not one number"):
        samples_of_frames(frames, variables=[Column("stop_reason")])
    with pytest.raises(DataError, match="no cell, and so no volume"):
        samples_of_frames(frames, variables=[Volume()])


def test_any_column_of_colvar(tmp_path):
    """Periodic where the file says so, else of the limits given, or of the values."""
    text = "#! FIELDS time t d\n#! SET min_t 0\n#! SET max_t 2*pi\n"
    (tmp_path / "COLVAR").write_text(text + " 0.0 0.5 1.5\n 0.2 6.0 2.5\n 0.4 1.0 2.0\n")
    table = read_colvar(tmp_path / "COLVAR")
    found = samples_of_colvar([table], variables=[Column("t"), Column("d")])
    assert found.axes[0] == Axis("t", 0.0, 2 * np.pi, periodic=True, unit="")
    assert found.axes[1] == Axis("d", 1.5, 2.5, periodic=False, unit="")
    assert found.open_axes == (1,)
    assert found.interval_fs == pytest.approx(200.0)
    given = samples_of_colvar([table], variables=[Column("d", limits=(0.0, 9.0))])
    assert (given.axes[0].high, given.open_axes) == (9.0, ())
    with pytest.raises(DataError, match="no column 'x'"):
        samples_of_colvar([table], variables=[Column("x")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("phi:ALA2", ResidueTorsion("phi", "ALA2")),
        ("chi1:A:SER4", ResidueTorsion("chi1", "A:SER4")),
        ("torsion:4, 6,8,14", Torsion((4, 6, 8, 14), "torsion 4,6,8,14")),
        ("angle:4,6,8", Angle((4, 6, 8))),
        ("angle:4,6,8=1,pi", Angle((4, 6, 8), limits=(1.0, np.pi))),
        ("distance:4,6=1,8", Distance((4, 6), limits=(1.0, 8.0))),
        ("volume=800,1600", Volume(limits=(800.0, 1600.0))),
        ("u", Column("uncertainty", "u")),
        ("column:opes.bias=-1,0", Column("opes.bias", limits=(-1.0, 0.0))),
    ],
)
def test_variables_as_users_write_them(text, expected):
    assert parse_variable(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phi", "the variable 'phi' is not understood; expected phi:ALA2"),
        ("phi:ALA2=0,1", "is not understood"),
        ("distance:1,x", "is not understood"),
        ("distance:1,2=3", "is not understood"),
        ("bond:1,2", "is not understood"),
        ("column:", "is not understood"),
        ("distance:1,2=3,1", "are no range"),
        ("distance:1,1", "expected 2 different atoms"),
        ("torsion:1,2,3", "expected 4 different atoms"),
        ("torsion:1,2,3,4=0,1", "its limits are the circle"),
    ],
)
def test_variables_that_are_not_understood(text, message):
    with pytest.raises(DataError, match=message):
        parse_variable(text)
