"""The command line: each command calls one function of the library and shows its result.

Units are eV, Å, fs and K; standard output carries the result alone (JSON with ``--json``), standard
error progress and errors. Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration.
"""

# The imports stand inside the commands, so that `uncv --help` starts no engine.
from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from uncv.cli.analysis import analyze
from uncv.cli.attack import attack
from uncv.cli.config import app as config_commands
from uncv.cli.evaluation import between_0_and_1, show_evaluation
from uncv.cli.export_data import export_data
from uncv.cli.learn import learn
from uncv.cli.options import BiasKind, BiasOptions, ChosenBias, Strength
from uncv.cli.output import (
    Commands,
    answer,
    check_line,
    demo_progress,
    step_progress,
)
from uncv.cli.plugin import app as plugin
from uncv.cli.report import report
from uncv.cli.status import status

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Uncertainty of machine-learned potentials as a collective variable. "
    "Units: eV, Å, fs, K unless said otherwise.",
)
app.add_typer(plugin, name="plugin")
app.add_typer(config_commands, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
Structure = Annotated[
    str, typer.Option(help="PDB file (Å) of the molecule, or 'alanine_dipeptide'.")
]
Periodic = Annotated[bool, typer.Option(help="Keep the box of the PDB file.")]


class Method(StrEnum):
    """Selection methods."""

    random = "random"
    top_u = "top_u"
    farthest_point = "farthest_point"
    max_det = "max_det"
    lcmd = "lcmd"


class Family(StrEnum):
    """Families of uncertainties."""

    ensemble = "ensemble"
    gradient = "gradient"
    gmm = "gmm"
    mean_variance = "mean_variance"
    evidential = "evidential"


class OracleKind(StrEnum):
    """Where labels come from."""

    openmm_forcefield = "openmm_forcefield"
    xtb = "xtb"
    pyscf = "pyscf"
    ase = "ase"
    potential = "potential"
    command = "command"


class Start(StrEnum):
    """Where training starts."""

    scratch = "scratch"
    ani1x = "ani1x"


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and all files.")] = Path(
        "uncv_demo"
    ),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Learn alanine dipeptide twice, with and without a bias on the uncertainty, and report."""
    from uncv.demo import demo as run

    with demo_progress() as progress:
        summary = run(out, seed, progress=progress)
    if as_json:
        answer(summary.to_json(), as_json=True)
    else:
        answer(summary.headlines(), as_json=False)


app.command()(learn)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Labelled frames: energies eV, forces eV/Å.")],
    out: Annotated[Path, typer.Option(help="The .uncv file to write.")],
    members: Annotated[int, typer.Option(help="Members of the ensemble.")] = 4,
    epochs: Annotated[int, typer.Option(help="Epochs, at most.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Frames in a batch.")] = 8,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Largest learning rate; by default what suits the start."),
    ] = None,
    start: Annotated[Start, typer.Option(help="New networks, or those of ANI-1x.")] = Start.scratch,
    uncertainty: Annotated[
        Family, typer.Option(help="Which uncertainty becomes the collective variable.")
    ] = Family.ensemble,
    option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of that uncertainty, as in a configuration; may be repeated."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Labelled frames for a conformal calibration.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Share of errors calibrated to lie outside.")] = 0.05,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train an ensemble and write it with its uncertainty as a collective variable.

    The keys of --option are those of the uncertainty's section in a configuration: of=forces
    (ensemble), features=sketched, method=distance (gradient), components=4 (gmm), reduce=softmax.
    """
    from uncv.calibration import ConformalCalibrator
    from uncv.config import make_uncertainty_section
    from uncv.cv import UncertaintyCV
    from uncv.io import read
    from uncv.learning.setup import head_of, make_uncertainty
    from uncv.training import TrainSettings
    from uncv.training import train as run

    chosen = make_uncertainty_section(uncertainty.value, option or [], members)
    settings = TrainSettings(
        members=members,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        start=start.value,
        head=head_of(chosen),
    )
    frames = read(data)
    with step_progress("training") as tell:
        potential = run(
            frames, settings, seed=seed, progress=lambda log: tell(log.epoch, settings.epochs)
        )
    cv = UncertaintyCV(potential, make_uncertainty(chosen).fit(potential, frames), chosen.reduce)
    if calibration is not None:
        cv = cv.calibrated(ConformalCalibrator(alpha).fit(cv, read(calibration)))
    cv.save(out)
    answer(
        {"file": out, "frames": len(frames), "kind": cv.kind, "fingerprint": cv.fingerprint},
        as_json=as_json,
    )


@app.command()
def sample(
    cv: Annotated[Path, typer.Argument(help="A .uncv file.")],
    out: Annotated[Path, typer.Option(help="Frames to write: .npz or .extxyz.")],
    structure: Structure = "alanine_dipeptide",
    steps: Annotated[int, typer.Option(help="Steps of each walker.")] = 1000,
    stride: Annotated[int, typer.Option(help="Steps between stored frames.")] = 25,
    walkers: Annotated[int, typer.Option(help="Copies that run at once.")] = 8,
    temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 300.0,
    timestep: Annotated[float, typer.Option(help="Time step in fs.")] = 0.5,
    hydrogen_mass: Annotated[float | None, typer.Option(help="Mass of hydrogen in amu.")] = None,
    bias: ChosenBias = BiasKind.none,
    strength: Strength = None,
    bias_option: BiasOptions = None,
    plumed: Annotated[Path | None, typer.Option(help="PLUMED input acting on u.")] = None,
    periodic: Periodic = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run Langevin dynamics of one or several walkers on the potential, biased or not."""
    from uncv.config import SystemConfig, make_bias_section
    from uncv.cv import UncertaintyCV
    from uncv.learning.bias import Dynamics, choose_bias
    from uncv.learning.setup import load_structure
    from uncv.sampling import SampleSettings
    from uncv.sampling import sample as run

    topology, start = load_structure(SystemConfig(structure=structure, periodic=periodic))
    settings = SampleSettings(
        temperature=temperature,
        timestep=timestep,
        hydrogen_mass=hydrogen_mass,
        steps=steps,
        stride=stride,
        walkers=walkers,
    )
    section = make_bias_section(bias.value, bias_option or [], strength)
    loaded = UncertaintyCV.load(cv)
    chosen = choose_bias(section, Dynamics(topology, start, loaded, settings, seed=seed))
    with step_progress("sampling") as tell:
        found = run(
            topology,
            start,
            loaded,
            settings=settings,
            bias=chosen,
            plumed=plumed,
            seed=seed,
            out=out,
            progress=tell,
        )
    answer(
        {
            "file": out,
            "frames": len(found.frames),
            "walker_steps": found.walker_steps,
            "bias": None if chosen is None else repr(chosen),
            "stops": list(found.stop_reasons),
            "reweightable": found.reweightable,
            "reason": found.reason,
        },
        as_json=as_json,
    )


@app.command()
def label(
    frames: Annotated[Path, typer.Argument(help="Structures (Å).")],
    out: Annotated[Path, typer.Option(help="Labelled frames to write: .extxyz or .npz.")],
    oracle: Annotated[
        OracleKind, typer.Option(help="Where labels come from.")
    ] = OracleKind.openmm_forcefield,
    option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the oracle, as in a configuration; may be repeated."),
    ] = None,
    structure: Structure = "alanine_dipeptide",
    force_field: Annotated[
        list[str] | None, typer.Option(help="Force-field file of OpenMM; may be repeated.")
    ] = None,
    max_force: Annotated[
        float | None, typer.Option(help="Largest force of a good label in eV/Å.")
    ] = None,
    reuse: Annotated[
        Path | None, typer.Option(help="File that keeps labels, to look frames up in.")
    ] = None,
    periodic: Periodic = False,
    as_json: Json = False,
) -> None:
    """Label structures with a reference; failed frames are left out and counted.

    The keys of --option are those of the oracle's section in a configuration: method=GFN1-xTB
    (xtb), functional=pbe, basis=def2-svp (pyscf), calculator=ase.calculators.emt.EMT (ase).
    """
    from uncv.config import SystemConfig, make_oracle_section
    from uncv.config.oracle import oracle_beside
    from uncv.io import read, write
    from uncv.learning.setup import load_structure
    from uncv.oracles import labelled_part, make_oracle

    options = [*(option or []), f"max_force_ev_per_angstrom={max_force or 'null'}"]
    if force_field:
        options.append(f"force_field={list(force_field)}")
    if reuse is not None:
        options.append("reuse_labels=true")
    given = oracle_beside(make_oracle_section(oracle.value, options), Path.cwd())
    topology = None
    if oracle is OracleKind.openmm_forcefield:
        topology, _ = load_structure(SystemConfig(structure=structure, periodic=periodic))
    data = read(frames)
    answered = make_oracle(given, topology, data[:1], labels=reuse).label(data)
    good = labelled_part(answered)
    write(out, good)
    reasons = [str(reason) for reason in answered.info["label_error"] if reason]
    answer({"file": out, "labelled": len(good), "failed": reasons}, as_json=as_json)
    if reasons:
        raise typer.Exit(1)


@app.command()
def select(
    pool: Annotated[Path, typer.Argument(help="Candidate frames.")],
    cv: Annotated[Path, typer.Option(help="A .uncv file: features and uncertainties.")],
    size: Annotated[int, typer.Option(help="How many to choose.")],
    out: Annotated[Path, typer.Option(help="Chosen frames to write.")],
    train: Annotated[Path | None, typer.Option(help="Frames that are labelled already.")] = None,
    method: Annotated[Method, typer.Option(help="How to choose.")] = Method.farthest_point,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Choose frames to label from a pool."""
    from uncv.cv import UncertaintyCV
    from uncv.io import read, write
    from uncv.learning.pool import choose_frames

    labelled = None if train is None else read(train)
    candidates = read(pool)
    chosen = choose_frames(
        UncertaintyCV.load(cv), candidates, labelled, size, method.value, seed=seed
    )
    write(out, candidates[chosen])
    answer({"file": out, "chosen": chosen.tolist()}, as_json=as_json)


@app.command()
def evaluate(
    cv: Annotated[Path, typer.Argument(help="A .uncv file.")],
    data: Annotated[Path, typer.Argument(help="Labelled test frames: eV, eV/Å.")],
    alpha: Annotated[
        float,
        typer.Option(
            help="Share of errors outside a conformal calibration on half of the frames.",
            callback=between_0_and_1,
        ),
    ] = 0.05,
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="Subtract from energy errors the best constant for each element, for labels of "
            "another reference level.",
        ),
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for four figures (.png, .svg).", file_okay=False)
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure how well the uncertainty ranks and sizes the errors on labelled test frames."""
    from uncv.cv import UncertaintyCV
    from uncv.evaluation import judge, summarise
    from uncv.evaluation_figures import draw
    from uncv.io import read

    loaded, frames = UncertaintyCV.load(cv), read(data)
    with step_progress("evaluating") as tell:
        judged = judge(loaded, frames, align=align, progress=tell)
    summary = summarise(judged, alpha=alpha, seed=seed)
    figures = [] if plots is None else [*draw(judged, summary, plots)]
    if as_json:
        answer({**summary._asdict(), "figures": figures}, as_json=True)
    else:
        show_evaluation(summary, figures)


@app.command()
def export(
    cv: Annotated[Path, typer.Argument(help="A .uncv file.")],
    like: Annotated[Path, typer.Option(help="Structure whose species the file is bound to.")],
    out: Annotated[Path, typer.Option(help="The TorchScript file (.pt) to write.")],
    as_json: Json = False,
) -> None:
    """Export a collective variable as TorchScript, for TorchForce and programs without Python."""
    from uncv.cv import UncertaintyCV
    from uncv.export import export as run
    from uncv.io import read

    written = run(UncertaintyCV.load(cv), read(like, 0), out)
    answer({"file": written}, as_json=as_json)


app.command()(analyze)
app.command()(attack)
app.command()(status)
app.command()(report)
app.command()(export_data)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check what is installed and which engines work, with the remedy of what does not."""
    from uncv.doctor import diagnose

    found = diagnose()
    if as_json:
        answer({"healthy": found.healthy, "checks": found.checks}, as_json=True)
    else:
        answer({check.name: check_line(check) for check in found.checks}, as_json=False)
    if not found.healthy:
        raise typer.Exit(1)
