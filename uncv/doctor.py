"""What is installed, what works on this machine, and the remedy for what does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from uncv import plugin
from uncv.dependencies import OPENMMTORCH, Pin, check_pins, installed_version, matches
from uncv.errors import DependencyError

Status = Literal["ok", "missing", "broken"]

CORE = (*OPENMMTORCH[:2], Pin("torchani", "2.2.4"), Pin("mdtraj", "1.11"), Pin("numpy", "2.4"))
"""Packages that uncv cannot do without, at the versions it is tested with."""
_PROBE_SECONDS = 120


class Check(NamedTuple):
    """One finding.

    Attributes
    ----------
    name : str
        What was looked at.
    status : {'ok', 'missing', 'broken'}
        Whether it works.
    found : str
        Versions or the reason.
    remedy : str
        What to type; empty if nothing is to be done.
    required : bool
        Whether uncv's default work needs it; the rest serves one engine or speed.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""
    required: bool = True


class Diagnosis(NamedTuple):
    """All findings."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything that is required works."""
        return all(check.status == "ok" for check in self.checks if check.required)


def diagnose() -> Diagnosis:
    """Look at every part; parts that may crash are tried in a process of their own."""
    probes: tuple[Callable[[], Check], ...] = (
        *(partial(_package, pin) for pin in CORE),
        _openmm_platforms,
        _ani1x,
        _compiled_descriptor,
        _torchforce,
        _plumed,
        _compiler,
        _cmake,
        _plugin,
        *(partial(_extra, *extra) for extra in _EXTRAS),
    )
    return Diagnosis((_python(), *(probe() for probe in probes)))


def _python() -> Check:
    return Check("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _package(pin: Pin) -> Check:
    found = installed_version(pin.distribution)
    if found is None:
        return Check(pin.distribution, "missing", "not installed", pin.remedy)
    if not matches(found, pin.version):
        wrong = f"{found}, tested with {pin.version}"
        return Check(pin.distribution, "broken", wrong, f'pip install "{_range(pin)}"')
    return Check(pin.distribution, "ok", found)


def _range(pin: Pin) -> str:
    exact = pin.version.count(".") == 2
    return f"{pin.distribution}=={pin.version}" + ("" if exact else ".*")


def _openmm_platforms() -> Check:
    code = (
        "import openmm as m;"
        "p=[m.Platform.getPlatform(i).getName() for i in range(m.Platform.getNumPlatforms())];"
        "assert hasattr(m,'PythonForce'),'this OpenMM has no PythonForce';print(', '.join(p))"
    )
    return _probe("OpenMM platforms", code, 'pip install "openmm==8.5.2"')


def _ani1x() -> Check:
    code = (
        "import uncv; p=uncv.load_potential('ani1x');"
        "print(f'{p.members} members for atomic numbers', *p.elements)"
    )
    return _probe("ANI-1x weights", code, 'pip install "torchani==2.2.4" "setuptools<81"')


def _compiled_descriptor() -> Check:
    code = "from uncv.models.library import why_not; assert not why_not(), why_not(); print(1)"
    check = _probe("compiled descriptor", code, "install a C++17 compiler, then: pip install -e .")
    if check.status == "ok":
        return check._replace(found="loaded", required=False)
    return check._replace(found=f"slower without it: {check.found}", required=False)


def _torchforce() -> Check:
    name = "openmmtorch (torchforce backend)"
    try:
        check_pins(*OPENMMTORCH)
    except DependencyError as error:
        status: Status = "broken" if installed_version("openmmtorch") else "missing"
        wanted = " ".join(f'"{pin.distribution}=={pin.version}"' for pin in OPENMMTORCH)
        return Check(name, status, str(error), f"pip install {wanted}", required=False)
    code = "from uncv.dependencies import import_openmmtorch as i; i(); print('loaded')"
    return _probe(name, code, OPENMMTORCH[2].remedy, required=False)


def _plumed() -> Check:
    code = "from uncv.plumed import plumed_version as v, plumed_kernel as k; print(v(), k())"
    remedy = "pip install --no-deps hillclimber==0.1.8 (conda: plumed and py-plumed)"
    return _probe("PLUMED kernel", code, remedy, required=False)


def _compiler() -> Check:
    found = shutil.which("g++") or shutil.which("c++")
    if found:
        return Check("C++ compiler", "ok", found, required=False)
    remedy = "install g++ (Debian: apt install g++; conda: gxx)"
    return Check("C++ compiler", "missing", "none on PATH", remedy, required=False)


def _cmake() -> Check:
    found = plugin.library.find_cmake()
    if found:
        return Check("CMake", "ok", found, required=False)
    remedy = "pip install cmake (Debian: apt install cmake)"
    return Check("CMake", "missing", "none on PATH", remedy, required=False)


def _plugin() -> Check:
    name, remedy = "PLUMED plugin (other engines)", "uncv plugin build"
    try:
        plugin.path()
    except DependencyError as error:
        return Check(name, "missing", str(error), remedy, required=False)
    code = (
        "from uncv.plugin import path;from uncv.plumed import PlumedDriver,PlumedSettings;"
        "PlumedDriver(PlumedSettings(f'LOAD FILE={path()}\\n',[1.0])).close();"
        "print('loaded from',path())"
    )
    return _probe(name, code, f"{remedy} --force", required=False)


_EXTRAS = (("mace-torch", "mace"), ("tblite", "xtb"), ("parsl", "clusters"))


def _extra(distribution: str, extra: str) -> Check:
    found = installed_version(distribution)
    if found is None:
        remedy = f'pip install "uncv[{extra}]"'
        return Check(distribution, "missing", "not installed", remedy, required=False)
    return Check(distribution, "ok", found, required=False)


def _probe(name: str, code: str, remedy: str, *, required: bool = True) -> Check:
    """Run Python code by itself: a crash there is a finding here, not the end."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(  # noqa: S603  the code is ours
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(name, "broken", f"no answer in {_PROBE_SECONDS} s", remedy, required)
    if done.returncode == 0:
        return Check(name, "ok", done.stdout.strip().splitlines()[-1], "", required)
    if done.returncode < 0:
        return Check(name, "broken", f"crashed (signal {-done.returncode})", remedy, required)
    lines = done.stderr.strip().splitlines()
    absent = bool(lines) and "ModuleNotFoundError" in lines[-1]
    reason = lines[-1] if lines else f"exit code {done.returncode}"
    return Check(name, "missing" if absent else "broken", reason, remedy, required)
