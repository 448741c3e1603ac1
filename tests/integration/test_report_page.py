"""The report in a real browser: no error, no request, every figure drawn, points that say what they are."""

import base64
import functools
import http.server
import threading
import time

import numpy as np
import pytest

from interfero.analysis.about import About
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
    faces_of,
)
from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.laws.scaling import fit_scaling
from interfero.analysis.report.page import Report, report_html
from interfero.analysis.report.restoration import RestorationReport, write_restoration_report
from interfero.analysis.report.sequence import SequenceReport, write_sequence_report
from interfero.analysis.report.shell import PageTable, ReportPage, page_html
from interfero.analysis.restoration.losses import summarise
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.records import CellRecord, ImageRow
from tests.browser import chromium
from tests.unit.analysis.test_restoration import sweep as restoration_sweep
from tools.planted import PlantedSweep, Scatter
from tools.planted_sequence import PlantedMethod, PlantedSequences

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
WIDTHS = (1280, 700)
FIGURES = ("overview", "capacity", "matched", "curves", "maps", "distance", "laws")
OPENED = "document.querySelectorAll('details.section').forEach(part => { part.open = true; })"
MARKS = ".mark-symbol path, .mark-rect path"


def law(place):
    return 10 * (place["num_images"] / 20) ** 0.4 * place["adapter_fraction"] ** 0.2


def whole(record):
    """A planted cell with the metrics and images of a real one."""
    lost, p = record.metrics["source/forgetting_unrouted_percent"], record.params
    gain = lost / 2 if p["method"] == "finetune" else lost / 3
    routed = lost if p["method"] == "finetune" else 0.0
    metrics = {
        "val/rd_gain_percent": gain, "val/forgetting_percent": routed,
        "val/forgetting_unrouted_percent": lost, "target/rd_gain_percent": gain,
        "source/forgetting_percent": routed,
        "distance/latent_bits": record.metrics["distance/feature_sd"] / 50,
    }  # fmt: skip
    rate, psnr = 10 * p["rd_lambda"] ** 0.6, 34 + 8 * np.log10(p["rd_lambda"] / 0.01)
    rows = [
        ImageRow(
            role=role, name="x", group="x", bpp_before=rate, psnr_db_before=psnr, rd_loss_before=1,
            bpp=rate * (1 + change / 200), psnr_db=psnr, rd_loss=1 + change / 100,
        )
        for role, change in (("target", -gain), ("source", routed), ("source_unrouted", lost))
    ]  # fmt: skip
    update = {"metrics": {**record.metrics, **metrics}, "images": tuple(rows)}
    return record.model_copy(update=update)


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(0)
    lambdas = (0.002, 0.006, 0.012, 0.025)
    sweeps = [
        PlantedSweep(law, num_images=(1, 5, 20), lambdas=lambdas, adapter_sizes=sizes,
                     scatter=Scatter(seed=0.05))
        for sizes in ((0,), (2, 8))
    ]  # fmt: skip
    cells = [whole(r) for sweep in sweeps for r in sweep.records(rng)]
    # A gap in a map, and a curve of three points.
    cells = [c for c in cells if (c.params["domain"], c.params["rd_lambda"]) != ("text", 0.002)]
    broken = {"status": "failed", "metrics": {}, "images": (), "error": "loss nan"}
    return [*cells[1:], CellRecord.model_validate({**cells[0].model_dump(), **broken})]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("page")
    about = About(name="planted", kind="test", question="Why?", command="python x.py")
    runs = RunLinks({record.key: "0123456789abcdef" for record in records})
    page = report_html(Report("planted", records, fit_scaling(records), [about], runs))
    (folder / "report.html").write_text(page)
    (folder / "frame.html").write_text(
        '<link rel="icon" href="data:,"><iframe sandbox="allow-scripts" src="report.html" width="900" '
        'height="600"></iframe>'
    )
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Served, for a browser asks a server for more than it asks of a file."""
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/report.html"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        if found is None:
            pytest.skip("no Chromium with its driver here (Debian: chromium chromium-driver)")
        yield found


def marks(browser, name):
    return browser.run(
        """const marks = document.querySelectorAll(`#figure-${arguments[0]} svg :is(${arguments[1]})`);
        return [...marks].filter(m => m.__data__.datum && 't' in m.__data__.datum).length""",
        name, MARKS,
    )  # fmt: skip


def opened(browser, address, width=1280):
    """The page with all of its parts unfolded, once their figures are drawn."""
    browser.open(address, width)
    browser.run(OPENED)
    wait(lambda: all(marks(browser, name) for name in FIGURES))


def wait(done, seconds=240):
    """Figures are drawn one after the other: 1.5 s alone, many times that beside other tests."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "not drawn in time"
        time.sleep(0.1)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_drawn_without_an_error_or_a_request(browser, address, width):
    opened(browser, address, width)
    assert browser.requests() == [address]
    assert browser.console() == []
    for name in FIGURES:
        assert marks(browser, name) > 0, name
    wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"
    cut = browser.run(
        """return [...document.querySelectorAll('.plot svg text')].filter(t => {
          const a = t.getBoundingClientRect(), b = t.closest('.panel').getBoundingClientRect();
          return a.left < b.left - 6 || a.right > b.right + 6 || a.bottom > b.bottom + 6;
        }).map(t => t.textContent)"""
    )
    assert cut == [], "text that leaves its panel"


def test_no_table_is_cut_in_a_small_window(browser, address):
    """Of tables with many columns the last ones were outside of a window of 1100 pixels."""
    opened(browser, address, 1100)
    cut = browser.run(
        """document.querySelectorAll('details').forEach(part => { part.open = true; });
        return [...document.querySelectorAll('.wide')].filter(box => box.clientWidth && !box.closest('figure')
          && box.scrollWidth > box.clientWidth).map(box => box.getAttribute('aria-label'))"""
    )
    assert cut == []


def test_the_answer_comes_first_and_the_rest_is_folded(browser, address):
    browser.open(address, 1280)
    wait(lambda: marks(browser, "overview"))
    first = browser.run(
        """const parts = document.querySelectorAll('.answer');
        return [[...parts].map(p => p.textContent), document.querySelectorAll('details.section[open]').length,
          document.querySelector('#answer > .answer ~ .gloss + figure').id,
          document.body.innerText.split(/\\s+/).length];"""
    )
    lines, unfolded, figure, words = first
    assert 1 <= len(lines) <= 3
    assert all("95 % interval" in line for line in lines)
    assert "3 seeds" in lines[0]
    assert (unfolded, figure) == (0, "figure-overview")
    assert words < 700, "what is seen before anything is asked for"
    assert [marks(browser, name) for name in FIGURES[1:]] == [0] * 6


def test_the_table_of_the_chosen_lambda_unfolds(browser, address):
    opened(browser, address)
    states = browser.run(
        """const select = document.querySelector('#figure-overview select');
        const parts = [...document.querySelectorAll('details[data-figure]')];
        const own = () => parts.map(part => part.open);
        const choose = (value) => {
          select.value = value;
          select.dispatchEvent(new Event('change'));
          return own();
        };
        parts.forEach(part => { part.open = false; });
        const names = parts.map(part => part.dataset.choice);
        const first = choose(names[0]), second = choose(names[1]);
        parts[2].open = true;
        const others = [...select.options].map(o => o.value).filter(v => !names.includes(v));
        return [first, second, choose(others[0])];"""
    )
    # What a reader opened stays open.
    assert states == [[True, False, False], [False, True, False], [False, False, True]]


def test_hovering_tells_cell_seeds_and_run(browser, address, records):
    opened(browser, address)
    x, y = browser.run(
        """const host = document.querySelector('#figure-capacity .plot');
        host.scrollIntoView({block: 'center'});
        const all = [...host.querySelectorAll('.mark-symbol path')]
          .filter(m => m.__data__.datum && !m.__data__.datum.f && m.__data__.datum.s === 'finetune');
        const box = all[0].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];"""
    )
    browser.hover(x, y)
    lines = browser.run(
        """const tip = document.getElementById('tip');
        return tip.hidden ? [] : [...tip.children].map(line => line.textContent);"""
    )
    assert lines[0].startswith("finetune on ")
    assert "(3 seeds, " in lines[1]
    seed = next(line for line in lines if line.startswith("seed 0/0: "))
    assert seed.endswith(", run 01234567")
    key = seed.partition("cell ")[2].partition(",")[0]
    (record,) = [r for r in records if r.key == key]
    assert f"{record.metrics['target/rd_gain_percent']:+.2f}" in seed
    browser.hover(2, 2)
    assert browser.run("return document.getElementById('tip').hidden")


def test_a_screen_reader_meets_names_and_no_coordinates(browser, address):
    opened(browser, address)
    names = browser.run(
        """return [...document.querySelectorAll('.plot, .plot [aria-label]')]
          .map(part => part.getAttribute('aria-label'))"""
    )
    assert len(names) >= len(FIGURES)
    assert not [name for name in names if "Vega" in name or name.startswith("x:")]
    assert (
        browser.run("return document.querySelectorAll('figure .plot:not([tabindex])').length") == 0
    )


def test_keys_walk_through_the_points(browser, address):
    opened(browser, address)
    press = """const host = document.querySelector('#figure-laws .plot');
        host.scrollIntoView({block: 'center'}); host.focus();
        host.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));
        return document.getElementById('tip').textContent;"""
    first, second = browser.run(press), browser.run(press)
    assert first
    assert second not in ("", first)


def test_a_choice_draws_the_other_variant_and_its_numbers_as_a_table(browser, address):
    opened(browser, address)
    caption = "return document.querySelector('#figure-maps figcaption').textContent"
    before = browser.run(caption)
    browser.run(
        """const select = document.querySelector('#figure-maps select');
        select.value = 'lora'; select.dispatchEvent(new Event('change'));
        document.querySelector('#figure-maps details').open = true;"""
    )
    after = browser.run(caption)
    assert before.startswith("Shown is finetune over ")
    assert after.startswith("Shown is lora over ")
    wait(lambda: marks(browser, "maps"))
    rows = "return document.querySelectorAll('#figure-maps details tbody tr').length"
    wait(lambda: browser.run(rows))
    assert browser.run(rows) == marks(browser, "maps")
    assert browser.console() == []


def test_cells_behind_a_figure_stand_under_their_headings(browser, address, folder):
    """Of a point without a gain, forgetting stood under gain, and seed 2 under seed 1."""
    told = (
        ("finetune on text", "gain +1.00 %", "forgetting, routed -", "forgetting, unrouted +3.00 %",
         "seed 0/0: +1.00, -, +3.00; cell a", "seed 2/0: +2.00, -, +4.00; cell b"),
        ("cawf on text", "forgetting, routed +0.50 %", "seed 1/0: -, +0.50; cell c", "no number"),
    )  # fmt: skip
    points = tuple(PlotPoint(float(i), 1.0, lines) for i, lines in enumerate(told))
    series = (
        Series("finetune", "#D55E00", "s", points),
        Series("finetune", "#D55E00", "s", (PlotPoint(2.0, 1.0, told[0]),), hollow=True),
    )
    panel = Panel("P", PlotAxis("x"), PlotAxis("y"), series)
    variant = Variant((), (panel,), "It is so.", faces=faces_of((panel,), "routed", "unrouted"))
    figure = Figure("f", "F", (), (variant,))
    page = page_html(ReportPage("t", [], [], [], [("figure", "f")], figures=[figure]))
    (folder / "planted.html").write_text(page)
    browser.open(address.replace("report.html", "planted.html"))
    browser.run("document.querySelector('#figure-f details').open = true")
    rows = """return [...document.querySelectorAll('#figure-f table tr')]
        .map(r => [...r.cells].map(c => c.textContent))"""
    wait(lambda: len(browser.run(rows)) == 3)
    head, first, second = browser.run(rows)
    assert len(head) == len(first) == len(second)
    assert dict(zip(head, first, strict=True)) == {
        "what": "finetune on text", "x": "0", "y": "1", "gain": "+1.00 %", "forgetting, routed": "-",
        "forgetting, unrouted": "+3.00 %", "seed 0/0": "+1.00, -, +3.00; cell a", "seed 1/0": "",
        "seed 2/0": "+2.00, -, +4.00; cell b", "more": "",
    }  # fmt: skip
    assert dict(zip(head, second, strict=True)) == {
        "what": "cawf on text", "x": "1", "y": "1", "gain": "", "forgetting, routed": "+0.50 %",
        "forgetting, unrouted": "", "seed 0/0": "", "seed 1/0": "-, +0.50; cell c", "seed 2/0": "",
        "more": "no number",
    }  # fmt: skip
    legend = """return [...document.querySelectorAll('#figure-f .legend > *')]
        .map(e => [e.tagName, e.textContent])"""
    assert browser.run(legend) == [
        ["BUTTON", "finetune"], ["SPAN", "filled: routed"], ["SPAN", "hollow: unrouted"],
    ]  # fmt: skip


def test_panels_of_a_row_begin_at_one_height(browser, address, folder):
    """Under titles of one and of three lines the rows of methods were at other heights."""
    series = (Series("a", "#D55E00", "s", (PlotPoint(1.0, 0.0, ("a",)),)),)
    panels = tuple(
        Panel(title, PlotAxis("x"), PlotAxis("", "names", ("a", "b")), series)
        for title in ("Short", "A title that is much longer than its panel is wide, " * 2)
    )
    figure = Figure("f", "F", (), (Variant((), panels, "It is so."),))
    page = page_html(ReportPage("t", [], [], [], [("figure", "f")], figures=[figure]))
    (folder / "uneven.html").write_text(page)
    browser.open(address.replace("report.html", "uneven.html"))
    wait(lambda: marks(browser, "f"))
    tops = """return [...document.querySelectorAll('.plot')]
        .map(p => [p.getBoundingClientRect().left, Math.round(p.getBoundingClientRect().top)])"""
    (left, top), (right, other) = browser.run(tops)
    assert left < right
    assert top == other


def test_a_legend_hides_and_tables_sort(browser, address):
    opened(browser, address)
    before = marks(browser, "capacity")
    browser.run("document.querySelector('#figure-capacity .legend button').click()")
    wait(lambda: 0 < marks(browser, "capacity") < before)
    pressed = "return document.querySelector('#figure-capacity .legend button').getAttribute('aria-pressed')"
    assert browser.run(pressed) == "false"
    column = """const table = document.querySelector('#answer table.sortable');
        const head = table.tHead.rows[0].cells[2];
        head.querySelector('button').click();
        const values = [...table.tBodies[0].rows].map(r => parseFloat(r.cells[2].textContent));
        return [head.getAttribute('aria-sort'), values];"""
    order, values = browser.run(column)
    assert (order, values) == ("descending", sorted(values, reverse=True))
    order, values = browser.run(column)
    assert (order, values) == ("ascending", sorted(values))
    # What begins with a word is no number, whatever numbers it has: last, in either order.
    planted = """const table = document.querySelector('#answer table.sortable');
        table.tBodies[0].rows[0].cells[2].textContent = 'not comparable (9 of 9 diverged)';
        return [1, 2].map(() => {
            table.tHead.rows[0].cells[2].querySelector('button').click();
            return [...table.tBodies[0].rows].at(-1).cells[2].textContent;
        });"""
    assert browser.run(planted) == 2 * ["not comparable (9 of 9 diverged)"]


def test_every_choice_of_every_figure_can_be_drawn(browser, address):
    opened(browser, address)
    drawn = browser.run(
        """let count = 0;
        for (const figure of document.querySelectorAll('figure[id]')) {
          const [first, second] = figure.querySelectorAll('select');
          const set = (select, value) => { select.value = value; select.dispatchEvent(new Event('change')); };
          for (const a of first ? [...first.options].map(o => o.value) : [null]) {
            if (first) set(first, a);
            for (const b of second ? [...second.options].map(o => o.value) : [null]) {
              if (second) set(second, b);
              if (!figure.querySelector('.plot')) throw new Error(`${figure.id} ${a} ${b}`);
              count++;
            }
          }
        }
        return count;"""
    )
    assert drawn > 20
    wait(lambda: all(marks(browser, name) for name in FIGURES))
    assert browser.console() == []


def test_it_works_in_the_frame_in_which_mlflow_shows_it(browser, address):
    """MLflow 3.17 shows an artifact in a frame that may run scripts and nothing else."""
    browser.open(address.replace("report.html", "frame.html"))
    browser.frame(0)
    try:
        browser.run(OPENED)
        wait(lambda: all(marks(browser, name) for name in FIGURES))
    finally:
        browser.frame(None)
    assert browser.console() == []


def test_the_page_of_a_restoration_sweep_is_drawn_too(browser, address, folder):
    cells = restoration_sweep(spread=0.02)
    summary = summarise([*cells, *restoration_sweep(rate=0.8)])
    about = About(name="restoration", kind="test", question="Why?", command="python y.py")
    strip = folder / "strip.png"
    strip.write_bytes(PIXEL)
    strips = {cell.key: strip for cell in cells}
    report = RestorationReport("restoration", cells, summary, about, strips=strips)
    write_restoration_report(report, folder / "restoration")
    place = address.replace("report.html", "restoration/report.html")
    browser.open(place, 700)
    browser.run(OPENED)
    wait(lambda: all(marks(browser, name) for name in ("rates", "parts")))
    assert [r for r in browser.requests() if not r.startswith("data:")] == [place]
    assert browser.console() == []
    wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"
    shown = browser.run("return [...document.images].map(i => i.naturalWidth)")
    assert shown
    assert all(width == 1 for width in shown)


def test_the_page_of_a_sequence_sweep_is_drawn_too(browser, address, folder):
    methods = {"finetune": PlantedMethod(), "lora": PlantedMethod(bank=True)}
    found = SequenceFindings(PlantedSequences(methods, noise=0.3).records())
    about = About(
        name="sequence", kind="test", question="Why?", command="python z.py --data-seeds 0 1 2"
    )
    report = SequenceReport("sequence", found, about)
    figures = sequence_figures(found)
    write_sequence_report(report, folder / "sequence", figures)
    assert {"growth", "matrix", "stages", "archive", "laws"} <= {figure.name for figure in figures}
    place = address.replace("report.html", "sequence/report.html")
    for width in WIDTHS:
        browser.open(place, width)
        browser.run(OPENED)
        wait(lambda: all(marks(browser, figure.name) for figure in figures))
        assert [r for r in browser.requests() if not r.startswith("data:")] == [place]
        assert browser.console() == []
        wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], "the page scrolls sideways"
    tiles = "[...document.querySelectorAll('#figure-matrix .mark-rect path')]"
    assert len(set(browser.run(f"return {tiles}.map(tile => tile.getAttribute('fill'))"))) > 4
    surer = browser.run("return document.querySelector('#answer pre').textContent")
    assert "--data-seeds 0 1 2 3 4" in surer


def test_dark_pages_have_light_text(browser, address):
    browser.open(address)
    wait(lambda: marks(browser, "overview"))
    wanted = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.devtools("Emulation.setEmulatedMedia", features=wanted)
    colours = """const style = getComputedStyle(document.body);
        const text = document.querySelector('.plot .role-axis-title text');
        return [style.color, style.backgroundColor, text && getComputedStyle(text).fill];"""
    expected = ["rgb(236, 236, 236)", "rgb(22, 22, 24)", "rgb(236, 236, 236)"]
    try:
        wait(lambda: browser.run(colours) == expected)
    finally:
        browser.devtools("Emulation.setEmulatedMedia", features=[])


def test_paper_is_white_and_has_no_selectors(browser, address):
    """The selectors were printed, and what is drawn for a dark screen was grey on white."""
    browser.open(address)
    wait(lambda: marks(browser, "overview"))
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    seen = """const style = getComputedStyle(document.body);
        const text = document.querySelector('.plot .role-axis-title text');
        const choices = getComputedStyle(document.querySelector('#figure-overview .choices'));
        return [style.color, style.backgroundColor, text && getComputedStyle(text).fill, choices.display];"""
    light, screen = "rgb(26, 26, 26)", "rgb(236, 236, 236)"
    try:
        browser.devtools("Emulation.setEmulatedMedia", features=dark)
        wait(lambda: browser.run(seen) == [screen, "rgb(22, 22, 24)", screen, "flex"])
        browser.devtools("Emulation.setEmulatedMedia", media="print", features=dark)
        wait(lambda: browser.run(seen) == [light, "rgb(255, 255, 255)", light, "none"])
        assert marks(browser, "overview")
        browser.devtools("Emulation.setEmulatedMedia", media="", features=dark)
        wait(lambda: browser.run(seen) == [screen, "rgb(22, 22, 24)", screen, "flex"])
    finally:
        browser.devtools("Emulation.setEmulatedMedia", media="", features=[])


def test_without_javascript_the_page_names_its_pictures(browser, address):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address)
        said = browser.text("#figure-overview")
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    assert said == (
        "This figure is drawn by JavaScript, which is off here. As a picture, beside this page: overview.png."
    )


INTERVALS = PageTable(
    ("method", "size", "target gain (%)", "median (%)", "dB", "forgetting, routed (%)",
     "forgetting, unrouted (%)", "median of it (%)", "dB lost", "parameters (%)", "domains"),
    [["continue_source", "-", "+1.99 (+1.55 to +2.43)", "+2.42", "+0.18", "+9.24 (-22.82 to +41.30)",
      "+9.24 (-22.82 to +41.30)", "+0.99", "+0.98", "100", "3 of 3"]],
    words=1,
)  # fmt: skip
"""A row of the shipped map."""


def test_the_last_column_of_a_table_with_intervals_is_seen(browser, tmp_path):
    """On one line each, its numbers are wider than the page: intervals go below them."""
    page = ReportPage(title="t", questions=[], remarks=[], answer=[], first=[("table", INTERVALS)],
                      next=[], sections=[], figures=[])  # fmt: skip
    (tmp_path / "report.html").write_text(page_html(page))
    for width in (1280, 1100, 700):
        browser.open((tmp_path / "report.html").as_uri(), width)
        inside, there, shown = browser.run(
            """const box = document.querySelector('.wide'), cells = [...box.querySelectorAll('td')];
            return [box.scrollWidth, box.clientWidth, cells.map(cell => cell.textContent)]"""
        )
        assert shown == INTERVALS.rows[0]
        assert (inside <= there) == (width > 1000), (width, inside, there)


def test_a_row_keeps_its_name_while_its_table_scrolls(browser, address):
    browser.open(address, 390)
    wait(lambda: marks(browser, "overview"))
    scrolled, lefts, beneath = browser.run(
        """const box = [...document.querySelectorAll('.wide')].find(b => b.scrollWidth > b.clientWidth + 100);
        box.scrollIntoView({block: 'center'});
        box.scrollLeft = 90;
        const left = box.getBoundingClientRect().left;
        const cells = [...box.querySelectorAll('tr > :first-child:not(.long)')];
        const names = cells.map(c => c.getBoundingClientRect().x);
        const cell = box.querySelector('tbody td').getBoundingClientRect();
        const seen = document.elementFromPoint(cell.left + 3, cell.top + cell.height / 2);
        return [box.scrollLeft, names.map(x => x - left), seen.cellIndex]"""
    )
    assert scrolled == 90
    assert all(abs(left) < 1 for left in lefts), lefts
    assert beneath == 0, "the name lies above what scrolls under it"
