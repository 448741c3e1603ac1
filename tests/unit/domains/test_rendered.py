"""Rendered domains: pure functions of (name, split, index), whatever the process did before."""

import pickle
import platform
import random
from importlib.metadata import version

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw

from interfero.domains import rendered
from interfero.domains.rendering import kept as kept_module
from interfero.domains.rendering.charts import KINDS, SMALL_KINDS, draw_chart
from interfero.domains.rendering.dice import Dice
from interfero.domains.rendering.fonts import FAMILIES, font
from interfero.domains.rendering.kept import kept_drawings
from interfero.domains.rendering.text import LAYOUTS, PAPERS, Page, break_lines, draw_page
from interfero.domains.rendering.widgets import THEMES
from interfero.domains.rendering.windows import PROGRAMS, draw_window
from interfero.errors import DomainError
from interfero.randomness import Role, numpy_generator

DRAW = {"text": draw_page, "charts": draw_chart, "windows": draw_window}
LOAD = {"text": rendered.text, "charts": rendered.charts, "windows": rendered.windows}

LOCKED = {"numpy": "1.26.4", "pillow": "13.0.0", "matplotlib": "3.11.2"}
FIRST_DIGEST = {
    "text": "52425debaf2ce4d375ca02291237f229",
    "charts": "e6029ea84cc8a19af2e0533a00b74705",
    "windows": "06c96172cf654416c88ac857fdf82da7",
}


def sample(name, split="train", index=0):
    return rendered.render_sample(name, DRAW[name], split, index)


@pytest.mark.parametrize("name", DRAW)
def test_a_domain_has_what_was_asked_for(name):
    domain = LOAD[name](num_train=4, num_test=2)
    assert (len(domain.train), len(domain.test)) == (4, 2)
    assert domain.unit == "images"
    samples = domain.train + domain.test
    assert {s.pixels_HWC.shape for s in samples} == {(256, 256, 3)}
    assert len({s.digest for s in samples}) == 6
    assert len({s.group for s in samples}) == 6


def skip_elsewhere():
    """Other libraries and machines may draw otherwise."""
    here = {package: version(package) for package in LOCKED}
    if here != LOCKED or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"pinned for {LOCKED} on Linux x86_64, this is {here}")


def kept_places(name):
    splits = (("train", rendered.NUM_TRAIN), ("test", rendered.NUM_TEST))
    return [(split, index) for split, count in splits for index in range(count)]


@pytest.mark.parametrize("name", DRAW)
def test_what_comes_with_the_package_is_what_is_drawn(name):
    kept = kept_drawings(name)
    assert list(kept) == [f"{split}-{index:04d}" for split, index in kept_places(name)]
    skip_elsewhere()
    # A chart takes a tenth of a second.
    for split, index in kept_places(name)[:: 15 if name == "charts" else 4]:
        drawn = sample(name, split, index)
        assert drawn.name == f"{name}-{split}-{index:04d}"
        assert np.array_equal(drawn.pixels_HWC, kept[f"{split}-{index:04d}"])


def test_a_domain_of_kept_drawings_is_the_drawn_one(monkeypatch):
    skip_elsewhere()
    kept = rendered.text(num_train=3, num_test=1)
    monkeypatch.setattr(rendered, "kept_drawings", lambda name: {})
    drawn = rendered.text(num_train=3, num_test=1)
    assert kept.fingerprint == drawn.fingerprint
    assert [s.name for s in kept.train] == [s.name for s in drawn.train]


def test_a_damaged_file_of_drawings_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_module, "FOLDER", tmp_path)
    assert kept_drawings("text") == {}
    (tmp_path / "text.zip").write_bytes(b"no archive")
    with pytest.raises(DomainError, match=r"text.zip cannot be read .*: install interfero again"):
        rendered.text()


@pytest.mark.parametrize("name", DRAW)
def test_asking_for_more_images_changes_none(name):
    few, many = LOAD[name](num_train=2, num_test=1), LOAD[name](num_train=4, num_test=3)
    assert [s.digest for s in few.train] == [s.digest for s in many.train[:2]]
    assert [s.digest for s in few.test] == [s.digest for s in many.test[:1]]


@pytest.mark.parametrize("name", DRAW)
def test_order_and_global_state_do_not_matter(name):
    forwards = [sample(name, index=i).digest for i in range(5)]
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - the state that must not matter
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    backwards = [sample(name, index=i).digest for i in reversed(range(5))]
    assert backwards[::-1] == forwards
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_charts_ignore_the_users_matplotlib_settings_and_leave_them():
    expected = [sample("charts", index=i).digest for i in range(4)]
    mine = {"font.size": 31.0, "axes.facecolor": "red", "figure.dpi": 33.0, "axes.grid": True,
            "path.simplify": False, "font.family": ["serif"], "legend.loc": "center"}  # fmt: skip
    with matplotlib.rc_context(mine):
        assert [sample("charts", index=i).digest for i in range(4)] == expected
        assert {key: matplotlib.rcParams[key] for key in mine} == mine


def test_charts_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    sample("charts")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", DRAW)
def test_the_first_image_is_the_one_that_results_were_made_with(name):
    skip_elsewhere()
    assert sample(name).digest == FIRST_DIGEST[name]


@pytest.mark.parametrize("name", DRAW)
def test_images_are_drawn_and_varied(name):
    pixels = [sample(name, "test", i).pixels_HWC.astype(float) for i in range(8)]
    assert min(p.std() for p in pixels) > 8, "an almost empty image"
    grounds = {tuple(np.median(p, axis=(0, 1)).tolist()) for p in pixels}
    assert len(grounds) >= 3, "all on one ground"


@pytest.mark.parametrize("kind", sorted(set(KINDS + SMALL_KINDS), key=lambda k: k.__name__))
def test_every_kind_of_chart_draws_something(kind):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for index in range(3):
        figure = Figure(figsize=(2, 2))
        canvas = FigureCanvasAgg(figure)
        axis = figure.subplots()
        canvas.draw()
        empty = np.array(canvas.buffer_rgba())
        kind(axis, Dice(numpy_generator(0, 0, Role.RENDER, index, "kinds")))
        canvas.draw()
        assert not np.array_equal(np.array(canvas.buffer_rgba()), empty)


@pytest.mark.parametrize("program", sorted(set(PROGRAMS), key=lambda p: p.__name__))
def test_every_program_draws_in_every_theme(program):
    from interfero.domains.rendering.widgets import Pen, desktop

    for index, theme in enumerate(THEMES):
        image = desktop((300, 300), theme)
        empty = np.asarray(image).copy()
        dice = Dice(numpy_generator(0, 0, Role.RENDER, index, "programs"))
        program(Pen(image, theme, 11), dice, (10, 10, 280, 280))
        changed = (np.asarray(image) != empty).any(axis=2).mean()
        assert changed > 0.2, theme


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS), key=lambda f: f.__name__))
def test_every_layout_puts_ink_on_every_paper(layout):
    for index, paper in enumerate(PAPERS):
        image = Image.new("RGB", (256, 256), paper.ground)
        page = Page(ImageDraw.Draw(image), paper, "sans", 11, 10, 246, 250, True, 8)
        layout(page, Dice(numpy_generator(0, 0, Role.RENDER, index, "pages")))
        inked = (np.asarray(image) != paper.ground).any(axis=2).mean()
        assert 0.02 < inked < 0.6, paper


def test_lines_are_no_longer_than_the_column():
    face = font("sans", 12)
    text = "one two three four five six seven " * 5
    lines = break_lines(text, face, 120, indent=30)
    lengths = [face.getlength(" ".join(line)) for line in lines]
    assert max(lengths) <= 120
    assert lengths[0] <= 90
    assert " ".join(w for line in lines for w in line) == text.strip()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", range(3))
def test_every_font_is_shipped_with_matplotlib(family, style):
    assert font(family, 12, style).path.startswith(matplotlib.get_data_path())


def test_a_missing_font_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(DomainError, match=r"DejaVuSans\.ttf .*pip install"):
        font.__wrapped__("sans", 12)


def few(name="text"):
    return LOAD[name](num_train=8, num_test=2)


def extended(num_images, seeds=(0, 1), domain=None):
    return rendered.extend(domain or few(), draw_page, num_images, seeds)


def names(samples):
    return [s.name for s in samples]


def test_a_reserve_changes_nothing_that_was_there_before():
    base, more = few(), extended(20)
    assert more.fingerprint == base.fingerprint
    assert more.max_images == base.max_images == 6
    assert [s.digest for s in more.train] == [s.digest for s in base.train]
    for seed in (0, 1):
        for count in (1, 3, 6, "all"):
            before, after = base.split(count, seed), more.split(count, seed)
            assert names(after.training) == names(before.training)
            assert names(after.validation) == names(before.validation)
        assert more.fingerprint_for(6, seed) == base.fingerprint
        assert names(more.split(20, seed).validation) == names(base.split(1, seed).validation)


def test_larger_subsets_hold_the_smaller_ones_however_many_were_drawn():
    few_more, many_more = extended(10), extended(13)
    small, large = few_more.split(9, 0).training, many_more.split(13, 0).training
    assert [s.digest for s in small] == [s.digest for s in large[:9]]
    assert set(names(many_more.split("all", 0).training)) < set(names(large))
    assert len({s.digest for s in large}) == 13
    assert few_more.fingerprint_for(9, 0) == many_more.fingerprint_for(9, 0)
    assert many_more.fingerprint_for(9, 0) != many_more.fingerprint_for(10, 0)


def test_what_is_drawn_belongs_to_a_seed():
    domain = extended(9)
    first, second = (domain.split(9, seed).training[6:] for seed in (0, 1))
    assert not {s.digest for s in first} & {s.digest for s in second}
    assert not {s.group for s in first} & {s.group for s in second}
    assert domain.fingerprint_for(9, 0) != domain.fingerprint_for(9, 1)
    alone = extended(9, seeds=(1,)).split(9, 1).training
    assert [s.digest for s in alone] == [s.digest for s in domain.split(9, 1).training]


def test_seed_0_draws_what_a_longer_train_split_has():
    longer = LOAD["text"](num_train=10, num_test=1)
    assert [s.digest for s in longer.train[8:]] == [s.digest for s in extended(8).reserve[0]]


def test_a_reserve_travels_to_workers():
    domain = extended(9)
    copy = pickle.loads(pickle.dumps(domain))
    assert copy.fingerprint_for(9, 1) == domain.fingerprint_for(9, 1)
    assert names(copy.split(9, 1).training) == names(domain.split(9, 1).training)


def test_seeds_without_a_reserve_say_what_they_have():
    with pytest.raises(DomainError, match="ask for 1 to 6"):
        extended(9).split(7, 2)


def test_more_than_fits_in_memory_is_refused():
    with pytest.raises(DomainError, match="at most 4096 training images, asked for 5000"):
        extended(5000)


@pytest.mark.parametrize("counts", [(1, 1), (2, 0)])
def test_too_few_images_are_refused(counts):
    with pytest.raises(DomainError, match="at least 2 train"):
        rendered.text(*counts)
