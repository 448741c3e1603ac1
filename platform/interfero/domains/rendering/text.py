"""Text pages: books, papers, letters, lists and tables, set in several faces, sizes and papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from interfero.domains.rendering import words
from interfero.domains.rendering.dice import Dice
from interfero.domains.rendering.fonts import BOLD, ITALIC, REGULAR, font

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Paper:
    """Colours of a page."""

    ground: Colour
    ink: Colour
    accent: Colour
    rule: Colour


PAPERS = (
    Paper((255, 255, 255), (0, 0, 0), (0, 0, 0), (120, 120, 120)),
    Paper((255, 255, 255), (34, 34, 34), (6, 69, 173), (200, 204, 209)),
    Paper((253, 253, 251), (28, 30, 38), (148, 28, 36), (190, 190, 186)),
    Paper((244, 236, 216), (67, 52, 34), (112, 50, 20), (180, 160, 124)),
    Paper((233, 221, 195), (54, 40, 26), (54, 40, 26), (150, 130, 100)),
    Paper((24, 26, 27), (214, 211, 205), (122, 178, 255), (70, 74, 78)),
    Paper((255, 255, 255), (20, 20, 20), (0, 86, 72), (170, 186, 182)),
    Paper((246, 248, 250), (36, 41, 47), (9, 105, 218), (208, 215, 222)),
    Paper((0, 0, 0), (190, 190, 190), (255, 176, 64), (80, 80, 80)),
    Paper((40, 44, 52), (171, 178, 191), (152, 195, 121), (76, 82, 94)),
)


@dataclass
class Page:
    """A page under the pen: `y` runs down while lines are set."""

    draw: ImageDraw.ImageDraw
    paper: Paper
    family: str
    size: int
    left: int
    right: int
    bottom: int
    justify: bool
    y: int

    @property
    def leading(self) -> int:
        """Pixels from one line to the next."""
        return round(self.size * 1.38)

    def face(self, scale: float = 1.0, style: int = REGULAR) -> ImageFont.FreeTypeFont:
        """The page's font at a multiple of its text size."""
        return font(self.family, round(self.size * scale), style)

    def line(
        self, text: str, face: ImageFont.FreeTypeFont, *, x: int | None = None, fill: Colour
    ) -> None:
        """One line of text at the pen's height, without moving it."""
        self.draw.text((self.left if x is None else x, self.y), text, font=face, fill=fill)

    def centred(self, text: str, face: ImageFont.FreeTypeFont, fill: Colour) -> None:
        """One centred line at the pen's height, without moving it."""
        x = (self.left + self.right - round(face.getlength(text))) // 2
        self.line(text, face, x=x, fill=fill)

    def block(self, text: str, *, style: int = REGULAR, indent: int = 0, hang: int = 0) -> None:
        """A paragraph, broken into lines and justified if the page is.

        Args:
            text: Words.
            style: Of the face.
            indent: Pixels before the first line.
            hang: Pixels before every line.
        """
        face = self.face(style=style)
        width = self.right - self.left - hang
        lines = break_lines(text, face, width, indent)
        for i, line in enumerate(lines):
            if self.y + self.leading > self.bottom:
                return
            start = self.left + hang + (indent if i == 0 else 0)
            stretch = self.justify and i < len(lines) - 1
            self._set(line, face, start, self.right - start if stretch else None)
            self.y += self.leading

    def _set(
        self, line: list[str], face: ImageFont.FreeTypeFont, x: int, width: int | None
    ) -> None:
        if width is None or len(line) < 2:
            self.line(" ".join(line), face, x=x, fill=self.paper.ink)
            return
        free = width - sum(face.getlength(w) for w in line)
        place = float(x)
        for word in line:
            self.line(word, face, x=round(place), fill=self.paper.ink)
            place += face.getlength(word) + free / (len(line) - 1)


def break_lines(
    text: str, face: ImageFont.FreeTypeFont, width: int, indent: int = 0
) -> list[list[str]]:
    """Words in lines that are at most `width` pixels long (greedy)."""
    space = face.getlength(" ")
    lines: list[list[str]] = [[]]
    used = float(indent)
    for word in text.split():
        length = face.getlength(word)
        if lines[-1] and used + length > width:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += length + space
    return lines


def draw_page(random: np.random.Generator, side: int) -> Image.Image:
    """A square cut from a text page, `side` pixels wide."""
    dice = Dice(random)
    # Wider than the cut, so that some cuts see a margin and some the middle of lines.
    width = side + dice.pick((0, 0, 24, 96, 160))
    height = side + dice.between(0, 120)
    paper = dice.pick(PAPERS)
    image = Image.new("RGB", (width, height), paper.ground)
    margin = dice.between(8, 26)
    page = Page(
        draw=ImageDraw.Draw(image),
        paper=paper,
        family=dice.pick(("sans", "serif", "times", "times", "mono")),
        size=dice.pick((8, 9, 10, 10, 11, 12, 13, 14, 16, 19)),
        left=margin,
        right=width - margin,
        bottom=height - dice.between(6, 24),
        justify=dice.chance(0.5),
        y=dice.between(6, 24),
    )
    if page.family == "times":
        # STIX is drawn smaller than DejaVu at one size; below 11 pixels its letters fall apart.
        page.size = max(11, page.size + 1)
    dice.pick(LAYOUTS)(page, dice)
    x, y = dice.between(0, width - side), dice.between(0, height - side)
    return image.crop((x, y, x + side, y + side))


def book(page: Page, dice: Dice) -> None:
    """Running head, indented paragraphs without gaps, and sometimes a chapter's opening."""
    small = page.face(0.85, ITALIC)
    page.line(str(dice.between(2, 640)), small, fill=page.paper.ink)
    page.centred(words.title(dice), small, page.paper.ink)
    page.y += round(page.leading * 1.6)
    if dice.chance(0.4):
        page.centred(f"Chapter {dice.between(1, 40)}", page.face(1.5), page.paper.accent)
        page.y += round(page.leading * 2.2)
    while page.y + page.leading <= page.bottom:
        indent = round(page.size * 1.6)
        text = words.paragraph(dice, dice.between(2, 6))
        if dice.chance(0.2):
            text = f"“{text}” said {dice.pick(words.NAMES)}."
        page.block(text, indent=indent)


def article(page: Page, dice: Dice) -> None:
    """Headings, a byline, paragraphs with gaps, and a list or a quotation here and there."""
    _heading(page, words.title(dice), 1.7)
    if dice.chance(0.6):
        byline = f"By {words.full_name(dice)}, {words.date(dice)}"
        page.line(byline, page.face(0.85, ITALIC), fill=page.paper.accent)
        page.y += round(page.leading * 1.4)
    while page.y + page.leading <= page.bottom:
        kind = dice.between(0, 9)
        if kind <= 5:
            page.block(words.paragraph(dice, dice.between(2, 4)))
        elif kind == 6:
            _heading(page, words.title(dice), 1.25)
            continue
        elif kind == 7:
            _quotation(page, dice)
        else:
            _bullets(page, dice, dice.between(2, 5), numbered=dice.chance(0.4))
        page.y += page.leading // 2


def paper(page: Page, dice: Dice) -> None:
    """A title over two columns of small type, as scientific papers have."""
    page.family = dice.pick(("times", "times", "serif", "sans"))
    page.size = 11 if page.family == "times" else min(page.size, 10)
    left, right = page.left, page.right
    # Words in a narrow column drift apart when they are spread over it.
    page.justify = right - left > 26 * page.size
    if dice.chance(0.6):
        page.centred(words.title(dice), page.face(1.6, BOLD), page.paper.ink)
        page.y += round(page.leading * 1.8)
        authors = ", ".join(words.full_name(dice) for _ in range(dice.between(1, 3)))
        page.centred(authors, page.face(), page.paper.ink)
        page.y += round(page.leading * 1.7)
    top, gutter = page.y, 12
    middle = (left + right) // 2
    section = dice.between(1, 6)
    for page.left, page.right in ((left, middle - gutter // 2), (middle + gutter // 2, right)):
        page.y = top
        while page.y + page.leading <= page.bottom:
            if dice.chance(0.3):
                _heading(page, f"{section} {words.title(dice)}", 1.1)
                section += 1
            page.block(words.paragraph(dice, dice.between(2, 6)), indent=page.size)


def letter(page: Page, dice: Dice) -> None:
    """Address, date, salutation, paragraphs, signature; often typed."""
    page.family = dice.pick(("mono", "mono", "times", page.family))
    page.justify = False
    for text in (
        words.full_name(dice),
        f"{dice.between(1, 180)} {dice.pick(words.NOUNS).title()} Street",
        f"{dice.between(10000, 99999)} {dice.pick(words.NAMES)}",
        "",
        words.date(dice),
        "",
        f"Dear {dice.pick(words.FIRST_NAMES)},",
    ):
        page.line(text, page.face(), fill=page.paper.ink)
        page.y += page.leading
    for _ in range(dice.between(2, 4)):
        page.y += page.leading // 2
        page.block(words.paragraph(dice, dice.between(2, 4)))
    page.y += page.leading
    page.block(dice.pick(("Yours sincerely,", "With kind regards,", "As ever,")))
    page.block(words.full_name(dice), style=ITALIC)


def table(page: Page, dice: Dice) -> None:
    """A caption over rows of names and figures, ruled or striped."""
    page.size = min(page.size, 13)
    caption = f"Table {dice.between(1, 12)}. {words.title(dice)}"
    page.line(caption, page.face(1.0, BOLD), fill=page.paper.accent)
    page.y += round(page.leading * 1.6)
    first = page.size * 8
    columns = max(1, min(dice.between(2, 4), (page.right - page.left - first) // (page.size * 6)))
    edges = [
        page.left + first + (page.right - page.left - first) * (i + 1) // columns
        for i in range(columns)
    ]
    ruled = dice.chance(0.5)
    heads = [n.title() for n in words.NOUNS if len(n) <= 6]
    _row(page, "", dice.several(heads, columns), edges, BOLD)
    page.draw.line((page.left, page.y, page.right, page.y), fill=page.paper.ink)
    page.y += 3
    digits = dice.between(0, 2)
    scale = 10 ** dice.between(1, 4)
    while page.y + page.leading <= page.bottom:
        cells = [f"{dice.real(0, scale):,.{digits}f}" for _ in edges]
        _row(page, dice.pick(words.NOUNS).title(), cells, edges, REGULAR)
        if ruled:
            page.draw.line((page.left, page.y, page.right, page.y), fill=page.paper.rule)
            page.y += 3


def contents(page: Page, dice: Dice) -> None:
    """A table of contents or an index: titles, dot leaders, page numbers."""
    page.size = min(page.size, 13)
    _heading(page, dice.pick(("Contents", "Index", "List of figures")), 1.5)
    number, chapter, section = dice.between(1, 9), 0, 0
    while page.y + page.leading <= page.bottom:
        deep = chapter > 0 and dice.chance(0.65)
        chapter, section = (chapter, section + 1) if deep else (chapter + 1, 0)
        label = f"{chapter}.{section}" if deep else f"{chapter}"
        _entry(page, f"{label}  {words.title(dice)}", str(number), deep=deep)
        number += dice.between(1, 11)


def _heading(page: Page, text: str, scale: float) -> None:
    face = page.face(scale, BOLD)
    for line in break_lines(text, face, page.right - page.left):
        page.line(" ".join(line), face, fill=page.paper.accent)
        page.y += round(page.leading * scale * 0.95)
    page.y += page.leading // 4


def _entry(page: Page, text: str, number: str, *, deep: bool) -> None:
    face = page.face(1.0, REGULAR if deep else BOLD)
    start = page.left + (page.size * 2 if deep else 0)
    end = page.right - round(page.face().getlength(number))
    page.line(text, face, x=start, fill=page.paper.ink)
    page.line(number, page.face(), x=end, fill=page.paper.ink)
    free = end - start - face.getlength(text) - page.size
    dots = "." * max(0, int(free / page.face().getlength(".")))
    x = end - 3 - round(page.face().getlength(dots))
    page.line(dots, page.face(), x=x, fill=page.paper.rule)
    page.y += page.leading


def _quotation(page: Page, dice: Dice) -> None:
    top, hang = page.y, page.size * 2
    page.block(words.paragraph(dice, dice.between(1, 2)), style=ITALIC, hang=hang)
    x = page.left + page.size
    page.draw.rectangle((x, top, x + 1, page.y - 2), fill=page.paper.rule)


def _bullets(page: Page, dice: Dice, count: int, *, numbered: bool) -> None:
    hang = round(page.size * 1.8)
    for i in range(count):
        if page.y + page.leading > page.bottom:
            return
        mark = f"{i + 1}." if numbered else "•"
        page.line(mark, page.face(), x=page.left + page.size // 2, fill=page.paper.accent)
        page.block(words.sentence(dice), hang=hang)


def _row(page: Page, label: str, cells: list[str], edges: list[int], style: int) -> None:
    page.line(label, page.face(1.0, style), fill=page.paper.ink)
    for cell, edge in zip(cells, edges, strict=True):
        x = edge - round(page.face(1.0, style).getlength(cell))
        page.line(cell, page.face(1.0, style), x=x, fill=page.paper.ink)
    page.y += page.leading


LAYOUTS: tuple[Callable[[Page, Dice], None], ...] = (
    book,
    book,
    article,
    article,
    article,
    paper,
    paper,
    letter,
    table,
    contents,
)
