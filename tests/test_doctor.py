"""Versions are compared before anything is loaded; a crash becomes a finding with a remedy."""

from __future__ import annotations

import sys

import pytest

from uncv import dependencies, doctor
from uncv.dependencies import Pin, check_pins, import_openmmtorch, import_plumed, matches
from uncv.errors import DependencyError


@pytest.fixture
def versions(monkeypatch):
    """Installed versions as the test says; the import of openmmtorch is recorded, not done."""
    installed = {"torch": "2.9.1", "openmm": "8.5.2", "openmmtorch": "1.5"}
    imported: list[str] = []
    for module in (dependencies, doctor):
        monkeypatch.setattr(module, "installed_version", installed.get)
    monkeypatch.setattr(dependencies, "import_module", lambda name: imported.append(name) or sys)
    return installed, imported


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ("2.9.1", "2.9.1", True),
        ("2.9.1+cu128", "2.9.1", True),
        ("8.5.2", "8.5", True),
        ("8.50.1", "8.5", False),
        ("1.5", "1.5.1", False),
        ("2.13.0+cpu", "2.9.1", False),
    ],
)
def test_versions_are_compared_by_their_numbers(found, wanted, same):
    assert matches(found, wanted) is same


def test_torch_is_imported_before_openmmtorch(versions, monkeypatch):
    _, imported = versions
    monkeypatch.setattr(dependencies, "_load_torch_kernels", lambda: imported.append("kernels"))
    import_openmmtorch()
    assert imported == ["torch", "kernels", "openmmtorch"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch": "2.13.0+cpu"}, r"torch 2\.9\.1 \(found 2\.13\.0\+cpu\)"),
        ({"openmm": "8.6.0"}, r"openmm 8\.5\.2 \(found 8\.6\.0\)"),
        ({"openmmtorch": None}, r"openmmtorch 1\.5 \(found none\)"),
        ({}, r'run: pip install "torch==2\.9\.1" "openmm==8\.5\.2" "openmmtorch==1\.5"'),
    ],
)
def test_wrong_versions_are_an_error_before_the_import(versions, change, message):
    installed, imported = versions
    installed.update(change or {"torch": "2.8.0"})
    with pytest.raises(DependencyError, match=message):
        import_openmmtorch()
    assert imported == []


def test_a_library_that_does_not_load(versions, monkeypatch):
    def fail(name):
        raise ImportError(f"undefined symbol in {name}")

    monkeypatch.setattr(dependencies, "import_module", fail)
    with pytest.raises(DependencyError, match=r"does not load \(undefined symbol.*reinstall"):
        import_openmmtorch()
    with pytest.raises(DependencyError, match="pip install --no-deps hillclimber"):
        import_plumed()


def test_absent_package():
    with pytest.raises(DependencyError, match=r"no-such-thing 1\.0 \(found none\)"):
        check_pins(Pin("no-such-thing", "1.0"))


def test_findings_of_packages(versions):
    installed, _ = versions
    installed.update({"torchani": "2.2.4", "mdtraj": "1.12.0", "numpy": None})
    found = {pin.distribution: doctor._package(pin) for pin in doctor.CORE}
    assert found["torchani"].status == "ok"
    assert found["mdtraj"].status == "broken"
    assert found["mdtraj"].remedy == 'pip install "mdtraj==1.11.*"'
    assert found["numpy"].status == "missing"


def test_wrong_openmm_is_named_without_trying_it(versions):
    installed, _ = versions
    installed["openmm"] = "8.6.0"
    check = doctor._torchforce()
    assert (check.status, check.required) == ("broken", False)
    assert "openmm==8.5.2" in check.remedy
    assert "found 8.6.0" in check.found


@pytest.mark.parametrize(
    ("code", "status", "found"),
    [
        ("print('noise'); print('1.2')", "ok", "1.2"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "broken", "signal 11"),
        ("import no_such_module", "missing", "no_such_module"),
        ("raise RuntimeError('bad kernel')", "broken", "bad kernel"),
        ("raise SystemExit(3)", "broken", "exit code 3"),
    ],
)
def test_probes_survive_what_they_try(code, status, found):
    check = doctor._probe("thing", code, "install it")
    assert check.status == status
    assert found in check.found
    assert check.remedy == ("" if status == "ok" else "install it")


def test_probe_that_hangs(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE_SECONDS", 0.2)
    check = doctor._probe("thing", "import time; time.sleep(30)", "wait")
    assert (check.status, check.found) == ("broken", "no answer in 0.2 s")


def test_tools_for_the_plugin(monkeypatch, tmp_path):
    monkeypatch.setenv("UNCV_PLUGIN_DIR", str(tmp_path))
    check = doctor._plugin()
    assert (check.status, check.required) == ("missing", False)
    assert check.remedy == "uncv plugin build"
    assert "is not built" in check.found
    assert doctor._cmake().status == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    for check, remedy in ((doctor._cmake(), "pip install cmake"), (doctor._compiler(), "g++")):
        assert (check.status, check.required, check.found) == ("missing", False, "none on PATH")
        assert remedy in check.remedy


def test_a_plugin_that_does_not_load(monkeypatch, tmp_path):
    monkeypatch.setenv("UNCV_PLUGIN_DIR", str(tmp_path))
    library = doctor.plugin.library._library(doctor.plugin.find_plumed())
    library.parent.mkdir()
    library.write_text("no")
    check = doctor._plugin()
    assert (check.status, check.remedy) == ("broken", "uncv plugin build --force")
    assert "Could not load library" in check.found


def test_health_asks_only_for_what_is_required():
    ok = doctor.Check("a", "ok", "1")
    optional = doctor.Check("b", "missing", "", required=False)
    assert doctor.Diagnosis((ok, optional)).healthy
    assert not doctor.Diagnosis((ok, optional._replace(required=True))).healthy


@pytest.mark.slow
def test_this_environment():
    """The pinned environment is healthy, and every finding that is not ok has a remedy."""
    diagnosis = doctor.diagnose()
    bad = [check for check in diagnosis.checks if check.required and check.status != "ok"]
    assert diagnosis.healthy, bad
    assert all(check.remedy for check in diagnosis.checks if check.status != "ok")
    named = {check.name: check for check in diagnosis.checks}
    assert "Reference" in named["OpenMM platforms"].found
    assert named["ANI-1x weights"].found == "8 members for atomic numbers 1 6 7 8"
    assert named["openmmtorch (torchforce backend)"].found == "loaded"
    assert named["PLUMED kernel"].found.startswith("2.")
