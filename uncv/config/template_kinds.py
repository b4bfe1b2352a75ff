"""What the templates of configurations set; everything else is at its default."""

from __future__ import annotations

from typing import Any, NamedTuple


class Template(NamedTuple):
    """A template: what it is for, and the keys that it sets."""

    title: str
    values: dict[str, Any]


LIGHT: dict[str, Any] = {"timestep_fs": 0.5, "hydrogen_mass_amu": None}
"""Hydrogen with its own mass needs a short step."""

TEMPLATES: dict[str, Template] = {
    "quick": Template(
        "A campaign that ends within a minute or two: alanine dipeptide, which uncv ships, "
        "labelled by a force field. It needs no file.",
        {
            "system": {"structure": "alanine_dipeptide"},
            "potential": {"members": 3, "hidden": [32, 32], "epochs": 60, "epochs_warm": 20},
            "sampling": {"walkers": 4, "steps_per_round": 250, "stride": 25},
            "selection": {"batch_size": 8},
            "budget": {"labels": 40, "initial_labels": 16},
        },
    ),
    "molecule": Template(
        "A molecule whose force field OpenMM knows: a PDB file with residues and bonds, labelled "
        "by that force field. The way to try a protocol before it costs anything.",
        {
            "system": {"structure": "molecule.pdb", "torsions": [[4, 6, 8, 14], [6, 8, 14, 16]]},
            "oracle": {"kind": "openmm_forcefield", "force_field": ["amber14/protein.ff14SB.xml"]},
            "sampling": {"temperature_k": 300.0, "walkers": 8, "steps_per_round": 1000},
            "selection": {"batch_size": 16},
            "budget": {"labels": 320},
            "convergence": {"min_rounds": 6, "coverage": {"tolerance": 0.01, "rounds": 3}},
        },
    ),
    "xtb": Template(
        "A molecule labelled by GFN2-xTB: any structure file, no force field, milliseconds to "
        "seconds a label.",
        {
            "system": {"structure": "molecule.xyz"},
            "oracle": {"kind": "xtb", "method": "GFN2-xTB", "charge": 0, "multiplicity": 1},
            "sampling": {"temperature_k": 300.0, **LIGHT, "walkers": 8, "steps_per_round": 2000},
            "selection": {"batch_size": 16},
            "budget": {"labels": 320},
        },
    ),
    "dft": Template(
        "A molecule labelled by density-functional theory in PySCF, by four worker processes. "
        "Training begins from ANI-1x, which knows H, C, N and O.",
        {
            "system": {"structure": "molecule.xyz"},
            "oracle": {
                "kind": "pyscf",
                "functional": "pbe0",
                "basis": "def2-svp",
                "dispersion": "d3bj",
                "charge": 0,
                "multiplicity": 1,
            },
            "potential": {"start": "ani1x", "members": 4},
            "sampling": {"temperature_k": 500.0, **LIGHT, "walkers": 4, "steps_per_round": 2000},
            "selection": {"batch_size": 8},
            "budget": {"labels": 160},
            "execution": {
                "kind": "process_pool",
                "workers": 4,
                "threads_per_worker": 1,
                "labels_per_task": 1,
            },
        },
    ),
    "crystal": Template(
        "A crystal at constant pressure, labelled by GFN1-xTB with stress: the walkers change the "
        "cell too, and frames are labelled that are uncertain and not high in energy (ALmoMD).",
        {
            "system": {"structure": "crystal.cif", "periodic": True},
            "oracle": {"kind": "xtb", "method": "GFN1-xTB"},
            "potential": {"stress_weight": 1000.0},
            "bias": {"kind": "adaptive", "stress_strength": 0.25},
            "sampling": {
                "temperature_k": 600.0,
                "pressure_gpa": 0.0,
                "walkers": 4,
                "steps_per_round": 500,
                "hydrogen_mass_amu": None,
            },
            "selection": {
                "batch_size": 8,
                "acceptance": {"kind": "almomd", "quantity": "uncertainty"},
            },
            "budget": {"labels": 120, "initial_labels": 16, "initial_strain": 0.03},
            "convergence": {"rounds_without_candidate": 2},
        },
    ),
    "ase": Template(
        "Labels by any calculator of ASE, named by its import path or by a function in a file of "
        "your own.",
        {
            "system": {"structure": "structure.extxyz"},
            "oracle": {
                "kind": "ase",
                "calculator": "ase.calculators.emt.EMT",
                "arguments": {},
                "level_of_theory": "EMT",
            },
            "sampling": {**LIGHT, "steps_per_round": 2000},
            "budget": {"labels": 160},
        },
    ),
    "command": Template(
        "Labels by a program that uncv does not know: it reads extended XYZ and writes it back "
        "with energies and forces.",
        {
            "system": {"structure": "structure.extxyz"},
            "oracle": {
                "kind": "command",
                "command": ["./label.sh", "{input}", "{output}"],
                "level_of_theory": "PBE, 500 eV",
                "software": "my code 1.0",
                "timeout_s": 3600.0,
            },
            "sampling": {**LIGHT, "steps_per_round": 2000},
            "budget": {"labels": 160},
        },
    ),
    "teacher": Template(
        "A potential as the teacher: a small one learns what a large one knows (here ANI-1x), "
        "where the small one is uncertain.",
        {
            "system": {"structure": "molecule.xyz"},
            "oracle": {"kind": "potential", "path": "ani1x"},
            "potential": {"members": 4, "hidden": [64, 64]},
            "sampling": {**LIGHT, "steps_per_round": 2000},
            "budget": {"labels": 640, "initial_labels": 32},
        },
    ),
    "cluster": Template(
        "The same on a cluster: labels, walkers and trainings go to the jobs of a batch system "
        "through Parsl, and the run ends before the wall time does; submit it again to continue.",
        {
            "system": {"structure": "molecule.xyz"},
            "oracle": {"kind": "pyscf", "functional": "pbe", "basis": "def2-svp"},
            "sampling": {**LIGHT, "walkers": 16, "steps_per_round": 2000},
            "selection": {"batch_size": 32},
            "budget": {"labels": 1000, "initial_labels": 32},
            "execution": {
                "kind": "parsl",
                "parsl_config": "slurm.py:config",
                "workers": 32,
                "threads_per_worker": 4,
                "task_timeout_s": 7200.0,
                "wall_time_s": 82800.0,
                "retries": 2,
                "walker_groups": 4,
                "labels_per_task": 1,
            },
        },
    ),
}
