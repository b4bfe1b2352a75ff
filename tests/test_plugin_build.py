"""Building the plugin: which PLUMED, where it is kept, what is said when it cannot be built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from typer.testing import CliRunner

pytest.importorskip("plumed")

from uncv import plugin
from uncv.cli import app
from uncv.errors import DependencyError
from uncv.plugin import installation, library
from uncv.plumed import plumed_kernel

ROOT = Path(__file__).resolve().parents[1]
PROJECT = """\
cmake_minimum_required(VERSION 3.18)
project(tiny CXX)
add_library(uncvplumed MODULE tiny.cpp)
set_target_properties(uncvplumed PROPERTIES PREFIX "" SUFFIX ".so")
file(WRITE "${CMAKE_BINARY_DIR}/told" "${PLUMED_INCLUDE_DIR}")
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Sources that compile in a second, and a cache of their own."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(PROJECT)
    (folder / "tiny.cpp").write_text("int one() { return 1; }\n")
    monkeypatch.setattr(library, "sources", lambda: folder)
    monkeypatch.setenv("UNCV_PLUGIN_DIR", str(tmp_path / "cache"))
    return folder


def headers(folder: Path, version: str = "2.10.1", name: str = "plumed") -> Path:
    """What an installed PLUMED looks like."""
    made = folder / "include" / name
    for inner in ("core", "config"):
        (made / inner).mkdir(parents=True)
    (made / "core" / "Colvar.h").touch()
    (made / "config" / "version.h").write_text(f'#define PLUMED_VERSION_LONG "{version}"\n')
    return made


def test_the_library_is_built_once_for_its_sources(project):
    told = []
    built = plugin.build(progress=lambda done, total: told.append((done, total)))
    assert built == plugin.path()
    assert built.parts[-1] == "uncvplumed.so"
    assert built.parts[-2].startswith("torch-2.")
    assert told[-1] == (100, 100)
    made = built.stat().st_mtime_ns
    assert plugin.build() == built
    assert built.stat().st_mtime_ns == made
    assert plugin.build(force=True) == built
    assert built.stat().st_mtime_ns > made
    (project / "tiny.cpp").write_text("int two() { return 2; }\n")
    with pytest.raises(DependencyError, match="is not built"):
        plugin.path()
    assert [p.name for p in built.parent.iterdir() if "." not in p.name] == []


def test_a_library_that_is_not_built_is_an_error_with_the_command(project, tmp_path):
    with pytest.raises(DependencyError, match=r"not built \(expected .*; run: uncv plugin build$"):
        plugin.path()
    folder = headers(tmp_path)
    said = rf"for torch 2.* PLUMED 2\.10\.1 is .*plugin build --headers {folder} --static$"
    with pytest.raises(DependencyError, match=said):
        plugin.path(headers=folder, static=True)


def test_the_commands(project):
    run = CliRunner()
    absent = run.invoke(app, ["plugin", "path"])
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert "uncv plugin build" in absent.stderr.replace("\n", " ")
    built = run.invoke(app, ["plugin", "build"])
    assert built.exit_code == 0
    assert "compiling" in built.stderr
    assert built.stdout == f"{plugin.path()}\n"
    assert run.invoke(app, ["plugin", "path"]).stdout == built.stdout
    as_json = run.invoke(app, ["plugin", "path", "--json"]).stdout
    assert as_json == f'{{"library": "{plugin.path()}"}}\n'


def test_a_failed_build_shows_the_end_of_its_log(project):
    (project / "tiny.cpp").write_text("int one() { return missing_thing; }\n")
    with pytest.raises(
        DependencyError, match=r"could not be built \(cmake ended with 2\)"
    ) as error:
        plugin.build()
    message = str(error.value)
    assert "missing_thing" in message
    log = Path(message.split("the whole log is ")[1].split(",")[0])
    assert "missing_thing" in log.read_text()
    with pytest.raises(DependencyError, match="is not built"):
        plugin.path()


@pytest.mark.parametrize(
    ("there", "message"),
    [((), "with cmake, which is not on PATH; run: pip install cmake"),
     (("cmake",), r"with g\+\+, which is not on PATH; run: apt install g\+\+")],
)  # fmt: skip
def test_tools_that_are_missing(project, tmp_path, monkeypatch, there, message):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in there:
        (programs / name).symlink_to(library.find_cmake())
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DependencyError, match=message):
        plugin.build()


def test_the_plumed_of_uncv_comes_first():
    found = plugin.find_plumed()
    assert found.kernel == plumed_kernel().resolve()
    assert (found.headers / "core" / "Colvar.h").is_file()
    assert found.version.startswith("2.")


@pytest.mark.parametrize("outer", [True, False])
def test_headers_that_are_named(tmp_path, outer):
    made = headers(tmp_path)
    found = plugin.find_plumed(made.parent if outer else made)
    assert found == (made, None, "2.10.1")


@pytest.mark.parametrize("folder", ["lib", "lib64"])
def test_the_kernel_has_the_name_of_the_headers(tmp_path, folder):
    made = headers(tmp_path, name="plumed_mpi")
    kernel = tmp_path / folder / "libplumed_mpiKernel.so"
    kernel.parent.mkdir()
    kernel.touch()
    assert plugin.find_plumed(made).kernel == kernel
    assert plugin.find_plumed(made, static=True).kernel is None


@pytest.mark.parametrize("command", ["plumed", "pkg-config"])
def test_the_plumed_on_the_path_comes_next(tmp_path, monkeypatch, command):
    made = headers(tmp_path)

    def absent() -> Path:
        raise DependencyError("no kernel")

    program = tmp_path / "bin" / command
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {made.parent}\n")
    program.chmod(0o755)
    monkeypatch.setattr(installation, "plumed_kernel", absent)
    monkeypatch.setenv("PATH", str(program.parent))
    assert plugin.find_plumed().headers == made
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(DependencyError, match=r"no headers of PLUMED .* here, nor PLUMED itself"):
        plugin.find_plumed()


def test_headers_that_are_not_there(tmp_path):
    with pytest.raises(DependencyError, match=rf"no headers of PLUMED .* in {tmp_path}; give"):
        plugin.find_plumed(tmp_path)
    made = headers(tmp_path)
    (made / "config" / "version.h").write_text("")
    with pytest.raises(DependencyError, match=r"version\.h does not tell PLUMED's version"):
        plugin.find_plumed(made)


def test_an_installed_package_carries_the_sources(tmp_path, monkeypatch):
    """What setup.py adds to a wheel and to a source distribution."""
    said = {}
    monkeypatch.setattr(setuptools, "setup", said.update)
    monkeypatch.chdir(ROOT)
    exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {"__name__": "setup"})
    packages = setuptools.find_packages(include=["uncv*"])
    about = setuptools.Distribution({"packages": packages, "script_name": "setup.py"})
    command = said["cmdclass"]["build_py"](about)
    command.build_lib = str(tmp_path)
    command.ensure_finalized()
    command.run()
    wanted = {p.name for p in (ROOT / "plugin").iterdir() if p.suffix in (".cpp", ".h", ".txt")}
    assert {"CMakeLists.txt", "Model.cpp", "UncertaintyAction.cpp"} < wanted
    assert {p.name for p in (tmp_path / "uncv" / "plugin" / "source").iterdir()} == wanted
    assert "plugin/Model.h" in command.get_source_files()
    code = "from uncv.plugin.library import sources; print(sources())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / "uncv" / "plugin" / "source"), done.stderr


def test_a_checkout_uses_its_own_sources():
    assert library.sources() == ROOT / "plugin"


@pytest.mark.slow
def test_a_plugin_of_another_plumed_says_so(tmp_path, monkeypatch):
    """Built for programs that hold PLUMED statically, as PLUMED's own driver shows its symbols."""
    monkeypatch.setenv("UNCV_PLUGIN_DIR", str(tmp_path / "cache"))
    other = tmp_path / "include" / "plumed"
    shutil.copytree(plugin.find_plumed().headers, other)
    version = other / "config" / "version.h"
    version.write_text(version.read_text().replace('LONG "2.11', 'LONG "9.11'))
    built = plugin.build(headers=other, static=True)
    (tmp_path / "plumed.dat").write_text(f"LOAD FILE={built}\nu: UNCERTAINTY MODEL=a ATOMS=1\n")
    program = shutil.which("plumed", path=Path(sys.executable).parent) or "plumed"
    command = [program, "driver", "--plumed", "plumed.dat", "--noatoms", "--natoms", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "the plugin was built for PLUMED 9.11" in done.stderr
    assert "build it for this one: uncv plugin build" in done.stderr


def test_cmake_of_the_python_package_is_found(tmp_path, monkeypatch):
    program = tmp_path / "cmake"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert library.find_cmake() == str(program)
