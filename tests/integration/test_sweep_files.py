"""The other sweep files: each names its question and plans what it needs."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

QUESTIONS = {
    "domain_shift": "Does a codec forget more the further a domain is from its own",
    "image_count": "How many images does adapting to a domain take",
    "bitrate": "Is forgetting worse at low or at high rate",
    "interference_map": "How do gain and forgetting grow with images and bitrate",
}


def started(place, name, *arguments):
    command = [sys.executable, str(ROOT / "sweeps" / f"{name}.py"), *place.tiny]
    return place.finish(place.start_command([*command, *map(str, arguments)]))


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_plan_says_the_question_and_trains_nothing(make_workplace, name):
    place = make_workplace(f"plan-{name}")
    done = started(place, name, "--lambdas", 0.013, "--smoke", "--num-images", 1, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert f"{name.replace('_', '-')}: {QUESTIONS[name]}" in said
    assert "uncalibrated" in said
    assert not (place.folder / "interfero-storage").exists()
