"""The other sweep files: each names its question and plans what it needs."""

import importlib

import pytest

QUESTIONS = {
    "domain_shift": "Does a codec forget more the further a domain is from its own",
    "graded_shift": "Does a codec forget more the larger a known shift is",
    "image_count": "How many images does adapting to a domain take",
    "training_budget": "How do gain and forgetting grow with the number of training steps",
    "bitrate": "Is forgetting worse at low or at high rate",
    "interference_map": "How do gain and forgetting grow with images and bitrate",
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_plan_says_the_question_and_trains_nothing(make_workplace, name):
    """That the files run as scripts, tests/unit/test_startup.py sees."""
    place = make_workplace(f"plan-{name}")
    sweep = importlib.import_module(f"sweeps.{name}").SWEEP
    few = ("--lambdas", 0.013, "--smoke", "--num-images", 1, "--dry-run")
    few += ("--num-steps", *sweep.options.budgets)
    code, shown = place.call(sweep, *place.tiny, *few)
    assert code == 0, shown
    said = " ".join(shown.split())
    assert f"{name.replace('_', '-')}: {QUESTIONS[name]}" in said
    assert "uncalibrated" in said
    # Several numbers of steps by default: halving chooses which learning rates go on.
    assert ("halving: " in said) == (name == "training_budget")
    assert not (place.folder / "interfero-storage").exists()
