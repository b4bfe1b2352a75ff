"""Adversarial attacks: the loss and its gradient, the ascent, its limits, and what is kept."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from scipy.special import logsumexp

import uncv
from uncv.adversarial import AttackSettings, Displacements, Strain, Torsions
from uncv.adversarial.ascent import moved
from uncv.adversarial.limits import Limits
from uncv.adversarial.objective import Objective, Values, log_partition
from uncv.calibration import GaussianCalibrator
from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, DataError, ElementError, GradientError
from uncv.stopping import StopRules
from uncv.units import KB_IN_EV_PER_K

KT = 0.3
FEW = AttackSettings(attacks=6, steps=8)


def log_q(cv, known):
    """log of the mean of exp(−E/kT), by SciPy."""
    energies = cv.evaluate(known).energy
    return logsumexp(-energies / KT) - np.log(len(energies))


def losses(cv, frames, known):
    """The loss of each frame from total energies and u as the library reports them."""
    found = cv.evaluate(frames)
    return np.log(found.uncertainty) - found.energy / KT - log_q(cv, known)


def slopes(make, cv, known, values, width=1e-5):
    """Central differences of the loss in parameters, the frames made by an independent function."""
    shape = values.shape
    shifts = np.concatenate([width * np.eye(values.size), -width * np.eye(values.size)])
    frames = [make((values.ravel() + shift).reshape(shape)) for shift in shifts]
    up, down = losses(cv, concatenate(frames), known).reshape(2, -1)
    return ((up - down) / (2 * width)).reshape(shape)


def autograd(cv, data, known, motion, values):
    """The loss and its gradient, as the ascent takes it."""
    leaf = torch.from_numpy(values[None].copy()).requires_grad_()
    objective = Objective(cv, KT, log_partition(cv, known, data, KT))
    loss = objective(moved(data.to_batch(), [motion], [leaf])).loss
    return loss.item(), torch.autograd.grad(loss.sum(), leaf)[0].numpy()[0]


def check(cv, data, known, move, make, values):
    motion = move.bound(data)
    loss, gradient = autograd(cv, data, known, motion, values)
    assert loss == pytest.approx(losses(cv, make(values), known)[0], abs=1e-9)
    expected = slopes(make, cv, known, values)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("case", contracts.UNCERTAINTIES, ids=lambda c: c.name)
class TestGradient:
    """Against central differences, for every uncertainty."""

    def test_displacements(self, case):
        cv, data = contracts.fitted(case), tiny.frames("CH3OH", seed=3)
        values = 0.05 * np.random.default_rng(1).normal(size=(6, 3))

        def make(x):
            return Dataset(data.numbers, data.positions + x)

        check(cv, data, tiny.frames("CH3OH", 3), Displacements(), make, values)

    def test_torsions(self, case):
        cv, data = contracts.fitted(case), tiny.frames("CH3OH", seed=3)
        motion = Torsions().bound(data)
        assert motion.shape == (1,)

        def make(x):
            # C 0, O 1, H of the hydroxyl 3: ASE turns it about the axis from C to O.
            atoms = Atoms(data.numbers[0], data.positions[0])
            mask = [0, 0, 0, 1, 0, 0]
            atoms.rotate_dihedral(2, 0, 1, 3, np.degrees(x[0]), mask=mask)
            return Dataset(data.numbers, atoms.positions[None])

        check(cv, data, tiny.frames("CH3OH", 3), Torsions(), make, np.array([0.3]))

    def test_strain(self, case):
        cv, data = contracts.fitted(case), tiny.crystal(seed=3)
        values = 0.01 * np.random.default_rng(1).normal(size=(3, 3))

        def make(x):
            scale = np.eye(3) + 0.5 * (x + x.T)
            return Dataset(data.numbers, data.positions @ scale, cell=data.cell @ scale)

        check(cv, data, tiny.crystal(3), Strain(), make, values)


@pytest.mark.parametrize("case", contracts.UNCERTAINTIES, ids=lambda c: c.name)
def test_every_uncertainty_can_be_attacked(case):
    cv = contracts.fitted(case)
    settings = AttackSettings(attacks=3, steps=4, temperature=np.inf)
    found = uncv.attack(cv, tiny.frames("CH3OH", 2), settings, reference=tiny.frames("CH3OH", 3))
    assert (found.frames.info["step"] > 0).all()
    assert (found.loss.max(axis=0) > found.loss[0]).all()
    moves = (Displacements(), Strain())
    settings = AttackSettings(moves, attacks=2, steps=4, temperature=np.inf)
    found = uncv.attack(cv, tiny.crystal(), settings)
    assert (found.loss.max(axis=0) > found.loss[0]).all()


def test_moves_together_act_one_after_the_other():
    data = tiny.crystal()
    x, e = np.full((4, 3), 0.02), 0.03 * np.eye(3)
    motions = [Displacements().bound(data), Strain().bound(data)]
    leaves = [torch.from_numpy(x[None]), torch.from_numpy(e[None])]
    found = moved(data.to_batch(), motions, leaves)
    np.testing.assert_allclose(found.positions[0].numpy(), (data.positions[0] + x) * 1.03)
    np.testing.assert_allclose(found.cell[0].numpy(), data.cell[0] * 1.03)


def test_the_first_step_climbs():
    """Adam's first step is its rate times the sign of the gradient."""
    cv, data = tiny.cv(), tiny.frames("NH3", seed=4)
    start = 0.01 * np.random.default_rng((7, 0)).normal(size=(4, 3))
    known = tiny.frames("NH3", 3)

    def make(x):
        return Dataset(data.numbers, data.positions + x)

    settings = AttackSettings(attacks=1, steps=1, temperature=KT / KB_IN_EV_PER_K)
    found = uncv.attack(cv, data, settings, reference=known, seed=7)
    slope = slopes(make, cv, known, start)
    assert found.frames.info["step"][0] == 1
    expected = data.positions[0] + start + 0.01 * np.sign(slope)
    np.testing.assert_allclose(found.frames.positions[0], expected, atol=1e-7)
    before, after = losses(cv, make(start), known)[0], losses(cv, found.frames, known)[0]
    np.testing.assert_allclose(found.loss[:, 0], [before, after], atol=1e-9)
    assert after > before


def test_each_keeps_its_best_step():
    cv = tiny.cv(calibrator=None)
    settings = AttackSettings(attacks=5, steps=20, temperature=np.inf)
    found = uncv.attack(cv, tiny.frames("CH3OH", 2), settings, seed=1)
    info = found.frames.info
    assert found.loss.shape == (21, 5)
    np.testing.assert_array_equal(info["step"], np.argmax(found.loss, axis=0))
    np.testing.assert_array_equal(info["loss"], found.loss.max(axis=0))
    assert (info["uncertainty"] > 1.2 * info["start_uncertainty"]).all()
    np.testing.assert_array_equal(info["parent"], [0, 1, 0, 1, 0])
    np.testing.assert_allclose(cv.predict(found.frames).uncertainty, info["uncertainty"])
    assert found.reasons == ("",) * 5
    assert (info["steps"] == 20).all()


def test_attacks_do_not_see_each_other():
    cv, data = tiny.cv(), tiny.mixed()
    together = uncv.attack(cv, data, AttackSettings(attacks=4, steps=6), seed=3)
    for number, frame in enumerate(data.frame_atoms):
        alone = Dataset(data.numbers[[number], :frame], data.positions[[number], :frame])
        streams = AttackSettings(attacks=number + 1, steps=6)
        # Attack k starts from its own stream: of several on one start, the last is the same.
        padded = uncv.attack(cv, data[[number]], streams, reference=data, seed=3)
        np.testing.assert_allclose(
            padded.frames.positions[number], together.frames.positions[number], atol=1e-9
        )
        assert cv.predict(alone).energy[0] == pytest.approx(
            together.frames.info["start_energy"][number]
        )


def test_the_same_for_the_same_seed():
    cv, data = tiny.cv(), tiny.frames("CH3OH", 2)
    one, two = (uncv.attack(cv, data, FEW, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.frames.positions, two.frames.positions)
    np.testing.assert_array_equal(one.chosen, two.chosen)
    other = uncv.attack(cv, data, FEW, seed=6)
    assert np.abs(one.frames.positions - other.frames.positions).max() > 1e-3


def test_inputs_are_not_changed():
    cv, data = tiny.cv(), tiny.crystal(2)
    before = data.positions.copy(), data.cell.copy()
    uncv.attack(cv, data, AttackSettings((Displacements(), Strain()), attacks=3, steps=4))
    np.testing.assert_array_equal(data.positions, before[0])
    np.testing.assert_array_equal(data.cell, before[1])


def hot(*moves):
    return AttackSettings(moves, attacks=4, steps=30, temperature=np.inf)


class TestTrustRegion:
    def test_displacements(self):
        data = tiny.frames("CH3OH")
        found = uncv.attack(tiny.cv(), data, hot(Displacements(limit=0.05)))
        length = np.linalg.norm(found.frames.positions - data.positions, axis=2)
        assert length.max() == pytest.approx(0.05, abs=1e-12)
        np.testing.assert_allclose(found.frames.info["displacement"], length.max(axis=1))

    def test_strain(self):
        data = tiny.crystal()
        found = uncv.attack(tiny.cv(), data, hot(Strain(limit=0.01)))
        for cell, x in zip(found.frames.cell, found.frames.positions, strict=True):
            strain = np.linalg.inv(data.cell[0]) @ cell - np.eye(3)
            np.testing.assert_allclose(strain, strain.T, atol=1e-12)
            assert np.abs(np.linalg.eigvalsh(strain)).max() <= 0.01 + 1e-12
            np.testing.assert_allclose(x, data.positions[0] @ (np.eye(3) + strain), atol=1e-12)
        assert np.abs(found.frames.cell - data.cell).max() > 0.02


def test_the_temperature_bounds_the_energy():
    """A cold attack lowers the energy, one of infinite temperature raises the uncertainty more."""
    data = tiny.frames("CH3OH")
    cold, hot = (
        uncv.attack(tiny.cv(), data, AttackSettings(attacks=4, steps=30, temperature=kelvin))
        for kelvin in (100.0, np.inf)
    )
    assert (cold.frames.info["predicted_energy"] < cold.frames.info["start_energy"]).all()
    assert (hot.frames.info["uncertainty"] > cold.frames.info["uncertainty"]).all()
    np.testing.assert_allclose(hot.frames.info["loss"], np.log(hot.frames.info["uncertainty"]))


class TestLimits:
    rules = StopRules(min_distance_factor=0.65, min_contact_factor=1.0, max_bond_factor=1.5)

    def test_all_at_once_says_what_the_rules_say(self):
        """Every reason is that of the walker's own checker, for sound and broken structures."""
        starts = concatenate([tiny.frames("CH3OH"), tiny.frames("NH3", 2, seed=1)])
        count = 60
        noise = np.random.default_rng(0).normal(size=(count, 6, 3))
        parents = np.arange(count) % 3
        sizes = np.linspace(0.0, 0.5, count)[:, None, None]
        x = starts.positions[parents] + sizes * noise * starts.mask[parents][:, :, None]
        batch = Dataset(starts.numbers[parents], x).to_batch()
        nothing = torch.zeros(count, dtype=torch.float64)
        values = Values(nothing, nothing, nothing, None)
        found = Limits(self.rules, starts, count, "energy").reasons(batch, values)
        for number, parent in enumerate(parents):
            atoms = starts.frame_atoms[parent]
            checker = self.rules.prepare(
                starts.numbers[parent, :atoms], starts.positions[parent, :atoms]
            )
            own = x[[number], :atoms]
            (told,) = checker.check(own, [0.0], [0.0], None, np.zeros_like(own))
            assert found[number] == told
        assert 5 < sum(bool(reason) for reason in found) < 55
        assert any("were bonded" in reason for reason in found)

    def test_an_attack_ends_before_it_is_unphysical(self):
        rules = StopRules(max_bond_factor=1.05)
        data = tiny.frames("CH3OH", spread=0.0)
        found = uncv.attack(tiny.cv(), data, AttackSettings(attacks=4, steps=30, stop=rules))
        assert all("were bonded" in reason for reason in found.reasons)
        i, j = rules.prepare(data.numbers[0], data.positions[0]).bonds.T
        length = np.linalg.norm(data.positions[0, i] - data.positions[0, j], axis=1)
        now = np.linalg.norm(found.frames.positions[:, i] - found.frames.positions[:, j], axis=2)
        assert (now / length <= 1.05).all()
        assert (found.frames.info["steps"] < 30).all()
        assert np.isnan(found.loss[-1]).all()

    def test_one_that_has_ended_does_not_disturb_the_others(self):
        data = tiny.frames("CH3OH", 2, spread=0.0)
        broken = data.positions.copy()
        broken[0, 1] = broken[0, 0]  # two atoms on top of each other
        found = uncv.attack(
            tiny.cv(), Dataset(data.numbers, broken), FEW, reference=tiny.frames("CH3OH", 3)
        )
        alone = uncv.attack(tiny.cv(), data[1], FEW, reference=tiny.frames("CH3OH", 3))
        np.testing.assert_allclose(
            found.frames.positions[1::2], alone.frames.positions[1::2], atol=1e-9
        )
        np.testing.assert_array_equal(found.frames.info["step"][::2], -1)
        assert set(found.distinct) <= {1, 3, 5}
        assert all(found.reasons[::2])
        np.testing.assert_array_equal(found.frames.positions[0], broken[0])

    def test_a_limit_of_the_uncertainty(self):
        data = tiny.frames("CH3OH")
        limit = 1.3 * tiny.cv().predict(data).uncertainty[0]
        rules = StopRules(max_uncertainty=limit)
        settings = AttackSettings(attacks=3, steps=40, temperature=np.inf, stop=rules)
        found = uncv.attack(tiny.cv(), data, settings)
        assert all("uncertainty" in reason for reason in found.reasons)
        assert (found.frames.info["uncertainty"] <= limit).all()

    def test_a_crystal_is_watched_through_its_boundary(self):
        data = tiny.crystal()
        apart = Atoms(data.numbers[0], data.positions[0], cell=data.cell[0], pbc=True)
        length = apart.get_distance(1, 3, mic=True)
        assert np.linalg.norm(data.positions[0, 1] - data.positions[0, 3]) > 2 * length
        rules = StopRules(min_distance_factor=0.99 * length / (0.66 + 0.71))
        moves = (Displacements(), Strain())
        settings = AttackSettings(moves, attacks=2, steps=20, temperature=np.inf, stop=rules)
        found = uncv.attack(tiny.cv(), data, settings, reference=tiny.crystal(3))
        assert all("atoms 1 and 3 are" in reason for reason in found.reasons)
        assert (found.frames.info["steps"] < 20).all()


def test_the_calibrated_uncertainty_and_the_raw_one():
    calibrator = GaussianCalibrator()
    calibrator.factor, calibrator.kind = 2.5, "energy"
    found = uncv.attack(tiny.cv(calibrator=calibrator), tiny.frames("NH3"), FEW)
    info = found.frames.info
    np.testing.assert_allclose(info["uncertainty"], 2.5 * info["raw_uncertainty"], rtol=1e-9)


def test_candidates_carry_where_they_come_from(tmp_path):
    cv = tiny.cv()
    found = uncv.attack(cv, tiny.frames("CH3OH", 2), AttackSettings(attacks=8, steps=5, count=3))
    assert len(found.candidates) == 3
    assert set(found.chosen) <= set(found.distinct)
    uncv.write(tmp_path / "a.extxyz", found.candidates)
    again = uncv.read(tmp_path / "a.extxyz")
    assert again.energy is None
    assert again.forces is None
    for name, column in found.candidates.info.items():
        np.testing.assert_array_equal(again.info[name], column)
    assert (again.info["fingerprint"] == cv.fingerprint).all()
    np.testing.assert_allclose(again.info["predicted_energy"], cv.predict(again).energy, atol=1e-9)


def test_candidates_are_those_of_the_method():
    """The largest uncertainties by top_u; all distinct ones where that is asked for."""
    settings = AttackSettings(attacks=8, steps=5, count=3, method="top_u", tolerance=0.0)
    found = uncv.attack(tiny.cv(), tiny.frames("CH3OH", 4), settings)
    values = found.frames.info["uncertainty"]
    np.testing.assert_array_equal(found.chosen, np.argsort(-values)[:3])
    every = uncv.attack(tiny.cv(), tiny.frames("CH3OH", 4), FEW)
    np.testing.assert_array_equal(every.chosen, every.distinct)
    loss = every.frames.info["loss"][every.distinct]
    assert (np.diff(loss) <= 0).all()


def test_known_frames_are_the_reference_or_the_starts():
    cv, data = tiny.cv(), tiny.frames("NH3", 3)
    assert uncv.attack(cv, data, FEW).known == "start frames"
    assert uncv.attack(cv, data, FEW, reference=data[:0]).known == "start frames"
    found = uncv.attack(cv, data, FEW, reference=tiny.frames("NH3", 5, seed=9))
    assert found.known == "reference frames"


class TestErrors:
    def test_no_gradient(self):
        cv = uncv.UncertaintyCV(tiny.same_members(), uncv.EnsembleUncertainty("energy"))
        with pytest.raises(GradientError, match="gradient of the uncertainty is zero"):
            uncv.attack(cv, tiny.frames("CH3OH"), FEW)

    def test_nothing_to_attack(self):
        with pytest.raises(DataError, match="no structure to attack; give at least one"):
            uncv.attack(tiny.cv(), tiny.frames("CH3OH")[:0], FEW)

    def test_an_unknown_element_is_named_first(self):
        gold = Dataset([79, 79], np.array([[[0.0, 0, 0], [2.5, 0, 0]]]))
        with pytest.raises(ElementError, match="Au"):
            uncv.attack(tiny.cv(), gold, reference=tiny.frames(count=2))

    def test_a_reference_of_other_molecules(self):
        with pytest.raises(DataError, match=r"composition of start frame 0 \(4 atoms\)"):
            uncv.attack(tiny.cv(), tiny.frames("NH3"), FEW, reference=tiny.frames("H2O"))

    def test_broken_starts(self):
        data = tiny.frames("NH3")
        data.positions[0, 1] = data.positions[0, 0]
        with pytest.raises(DataError, match="before its first step, attack 0 because: "):
            uncv.attack(tiny.cv(), data, FEW, reference=tiny.frames("NH3"))

    def test_nothing_new(self):
        data = tiny.frames("NH3")
        settings = AttackSettings((Displacements(1e-6, 1e-7, 1e-7),), attacks=2, steps=1)
        found = uncv.attack(tiny.cv(), data, settings)
        assert len(found.candidates) == 0
        with pytest.raises(DataError, match="none of 2 attacks came to a frame unlike the start"):
            found.checked()

    def test_strain_of_a_molecule(self):
        with pytest.raises(DataError, match="strain needs a cell that is periodic"):
            uncv.attack(tiny.cv(), tiny.frames("NH3"), AttackSettings((Strain(),)))

    def test_a_limit_of_the_force(self):
        with pytest.raises(ConfigError, match="max_force is set but an attack takes no forces"):
            uncv.attack(
                tiny.cv(), tiny.frames("NH3"), AttackSettings(stop=StopRules(max_force=5.0))
            )

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda: AttackSettings(()), "there is no move; give at least one"),
            (lambda: AttackSettings((Strain(), Strain(0.2))), "two moves are of the same kind"),
            (lambda: AttackSettings(attacks=0), "attacks is 0; expected a positive"),
            (lambda: AttackSettings(temperature=-1.0), "temperature is -1.0"),
            (lambda: AttackSettings(count=0), "count is 0; expected at least 1"),
            (lambda: AttackSettings(tolerance=1.0), "tolerance is 1.0"),
            (lambda: AttackSettings(method="threshold"), "expected one of random, top_u"),
            (lambda: Displacements(limit=0.0), "limit is 0.0; expected a positive"),
            (lambda: Torsions(rate=np.nan), "rate is nan"),
            (lambda: Strain(limit=0.5), "expected a strain below 0.5"),
        ],
    )
    def test_settings(self, make, match):
        with pytest.raises(ConfigError, match=match):
            make()
