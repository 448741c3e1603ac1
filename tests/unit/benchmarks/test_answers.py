"""What counts as the same answer, and the figures that are kept of finished sides."""

import pytest

from benchmarks._answers import (
    ArmRun,
    Question,
    Trial,
    choices,
    equal_regret,
    keep,
    kept,
    num_same,
    regrets,
    run_file,
)
from interfero.errors import ConfigError, StorageError

SHORT, LONG = Question("text", "lora", 60), Question("text", "lora", 250)
SETTINGS = {"num_steps": [60, 250], "code": "a1"}


def trial(rate, gain, question=SHORT, steps=60):
    return Trial(question=question, learning_rate=rate, trained_steps=steps, gain_percent=gain)


def arm_run(arm="loop", seed=0, wall_s=10.0, trials=(), settings=SETTINGS):
    return ArmRun(
        arm=arm, data_seed=seed, settings=settings, wall_s=wall_s, cpu_s=2 * wall_s,
        trials=tuple(trials), machine={},
    )  # fmt: skip


FULL = [
    trial(3e-5, 5.0), trial(1e-4, 10.0), trial(3e-4, 9.95),
    trial(3e-5, -3.0, LONG, 250), trial(1e-4, -2.0, LONG, 250),
]  # fmt: skip


def test_the_choice_gains_most_and_stopped_trainings_are_none():
    found = choices([trial(3e-5, 5.0), trial(1e-4, 10.0), trial(3e-4, None), *FULL[3:]])
    assert {q: t.learning_rate for q, t in found.items()} == {SHORT: 1e-4, LONG: 1e-4}


def test_of_two_equals_the_smaller_rate_is_chosen():
    assert choices([trial(3e-4, 1.0), trial(1e-4, 1.0)])[SHORT].learning_rate == 1e-4


def test_a_question_without_a_whole_training_has_no_choice():
    with pytest.raises(ConfigError, match="none of 1 trainings of lora on text reached 60 steps"):
        choices([trial(3e-4, None)])


def test_regret_is_what_the_full_grid_lost_at_the_chosen_rate():
    # The side's own gains, 99 and 0, are not what is judged.
    chosen = {SHORT: trial(3e-4, 99.0), LONG: trial(3e-5, 0.0, LONG, 250)}
    assert regrets(chosen, FULL) == pytest.approx({SHORT: 0.5, LONG: 50.0})
    assert regrets(choices(FULL), FULL) == {SHORT: 0.0, LONG: 0.0}


def test_a_rate_that_the_full_grid_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"no result at 0\.01"):
        regrets({SHORT: trial(1e-2, 1.0)}, FULL)


def test_one_percent_of_the_gain_is_the_same_answer():
    assert num_same([0.0, 1.0, 1.01, -0.0]) == 3


def test_equal_regret_asks_for_no_fewer_of_the_full_grids_answers():
    assert equal_regret([0.0, 0.9], [0.0, 0.0])
    assert not equal_regret([0.0, 1.1], [0.0, 0.0])
    assert equal_regret([0.0, 30.0], [1.1, 0.5])


def test_figures_of_a_finished_side_are_kept(tmp_path):
    run = arm_run(trials=FULL)
    assert kept(tmp_path / "new", "loop", 0, SETTINGS) is None
    keep(tmp_path / "new", run)
    assert kept(tmp_path / "new", "loop", 0, SETTINGS) == run
    assert kept(tmp_path / "new", "loop", 1, SETTINGS) is None
    assert run.num_steps == 3 * 60 + 2 * 250


def test_figures_of_other_settings_are_refused(tmp_path):
    keep(tmp_path, arm_run())
    with pytest.raises(ConfigError, match="measured with code a1, now it is b2"):
        kept(tmp_path, "loop", 0, {**SETTINGS, "code": "b2"})


def test_damaged_figures_are_refused(tmp_path):
    run_file(tmp_path, "loop", 0).write_text("{}")
    with pytest.raises(StorageError, match="delete it"):
        kept(tmp_path, "loop", 0, SETTINGS)
