"""Program windows: editors, file managers, dialogs, forms, mail, tables and terminals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from interfero.domains.rendering import words
from interfero.domains.rendering.dice import Dice
from interfero.domains.rendering.fonts import BOLD, REGULAR
from interfero.domains.rendering.listings import code, coloured, session
from interfero.domains.rendering.widgets import (
    DIALOG_ICONS,
    FILE_ICONS,
    THEMES,
    Box,
    Colour,
    Pen,
    desktop,
    icon,
    menu_bar,
    mix,
    status_bar,
    tool_bar,
)

Program = Callable[[Pen, Dice, Box], None]
"""Draws one window in a box."""


def draw_window(random: np.random.Generator, side: int) -> Image.Image:
    """A square cut from a desktop with one or two windows, `side` pixels wide."""
    dice = Dice(random)
    theme = dice.pick(THEMES)
    size = (side + dice.between(40, 160), side + dice.between(40, 120))
    pen = Pen(desktop(size, theme), theme, dice.pick((10, 11, 11, 12, 13)))
    for _ in range(dice.pick((0, 0, 1))):
        back = _frame(dice, size, 0.75)
        pen.window(back, words.title(dice), active=False)
        dice.pick((mail, table, files))(pen, dice, back)
    dice.pick(PROGRAMS)(pen, dice, _frame(dice, size, 0.9))
    if dice.chance(0.2):
        dialog(pen, dice, _frame(dice, size, 0.6))
    x, y = dice.between(0, size[0] - side), dice.between(0, size[1] - side)
    return pen.image.crop((x, y, x + side, y + side))


def _frame(dice: Dice, size: tuple[int, int], share: float) -> Box:
    width = round(size[0] * dice.real(share - 0.1, share + 0.05))
    height = round(size[1] * dice.real(share - 0.1, share + 0.05))
    left = dice.between(4, max(5, size[0] - width - 4))
    top = dice.between(4, max(5, size[1] - height - 4))
    return (left, top, left + width, top + height)


def editor(pen: Pen, dice: Dice, box: Box) -> None:
    """Source code with line numbers, coloured syntax and tabs."""
    file = f"{dice.pick(words.NOUNS)}.{dice.pick(('py', 'ts', 'c', 'rs'))}"
    room = pen.window(box, f"{file} - {dice.pick(words.NOUNS).title()}")
    room = menu_bar(pen, dice, room) if dice.chance(0.6) else room
    room = tool_bar(pen, dice, room) if dice.chance(0.4) else room
    at = f"Ln {dice.between(1, 900)}, Col {dice.between(1, 80)}   UTF-8   LF"
    left, top, right, bottom = status_bar(pen, room, at)
    if dice.chance(0.5):
        left = _tree(pen, dice, (left, top, left + 92, bottom))
    pen.draw.rectangle((left, top, right, bottom), fill=pen.theme.field)
    gutter = left + round(pen.face("mono").getlength("0000")) + 6
    number, current, step = dice.between(1, 600), dice.between(2, 14), pen.size + 4
    for i, (y, line) in enumerate(zip(range(top + 3, bottom - step, step), code(dice))):  # noqa: B905
        if i == current:
            tint = mix(pen.theme.field, pen.theme.line, 0.4)
            pen.draw.rectangle((gutter, y - 2, right, y + step - 3), fill=tint)
        pen.text(left + 3, y, f"{number + i:4d}", pen.theme.faint, face=pen.face("mono"))
        coloured(pen, gutter + 6, y, right - 14, line)
    pen.scroll_bar((right - 12, top, right, bottom), dice.real(0, 0.7), dice.real(0.1, 0.3))


def files(pen: Pen, dice: Dice, box: Box) -> None:
    """A file manager: a tree, and a list with sizes and dates, or large icons."""
    room = pen.window(box, dice.pick(("Documents", "Downloads", "Pictures", "Home", "Projects")))
    room = tool_bar(pen, dice, menu_bar(pen, dice, room) if dice.chance(0.5) else room)
    count = dice.between(3, 240)
    left, top, right, bottom = status_bar(
        pen, room, f"{count} items, {dice.between(1, 90)} GB free"
    )
    if dice.chance(0.6):
        left = _tree(pen, dice, (left, top, left + 90, bottom))
    pen.sunken((left, top, right, bottom))
    if dice.chance(0.3):
        _icon_grid(pen, dice, (left, top, right, bottom))
        return
    size, day = (round(pen.face().getlength(t)) + 8 for t in ("999 MB", "28.12.2025"))
    day = day if right - left > size + day + 110 else 0
    edges = (left + 4, right - 14 - day - size, right - 14 - day)
    _header(pen, (left, top, right, top + pen.row), edges, ("Name", "Size", "Date"))
    chosen = dice.between(0, 8)
    rows = range(top + pen.row + 2, bottom - pen.row, pen.row)
    for i, y in enumerate(rows):
        ink = _selected(pen, (left + 1, y, right - 14, y + pen.row - 1), on=i == chosen)
        icon(pen, (left + 4, y + 1), dice.pick(FILE_ICONS))
        pen.text(left + 24, y + 2, _file_name(dice), ink, width=edges[1] - left - 30)
        pen.text(edges[1], y + 2, f"{dice.between(1, 999)} {dice.pick(('KB', 'MB'))}", ink)
        if day:
            pen.text(edges[2], y + 2, words.short_date(dice), ink)
    pen.scroll_bar((right - 12, top, right, bottom), dice.real(0, 0.6), dice.real(0.2, 0.4))


def dialog(pen: Pen, dice: Dice, box: Box) -> None:
    """A question with an icon and two or three buttons, sometimes a progress bar."""
    left, top, right, _ = box
    right = max(right, left + 190)
    lines = _wrapped(pen, words.sentence(dice), right - left - 62)
    box = (left, top, right, top + (pen.size + 5) * len(lines) + pen.row * 3 + 44)
    titles = ("Confirm", "Save changes", "Warning", "Install", "About", "Error")
    left, top, right, bottom = pen.window(box, dice.pick(titles))
    icon(pen, (left + 14, top + 14), dice.pick(DIALOG_ICONS))
    y = top + 12
    for line in lines:
        pen.text(left + 44, y, line)
        y += pen.size + 5
    if dice.chance(0.4):
        end, done = right - 16, dice.real(0.1, 0.95)
        pen.sunken((left + 16, y + 4, end, y + 14))
        full = left + 17 + round((end - left - 18) * done)
        pen.draw.rectangle((left + 17, y + 5, full, y + 13), fill=pen.theme.accent)
    _answers(pen, dice, right, bottom)


def form(pen: Pen, dice: Dice, box: Box) -> None:
    """Settings: tabs, labelled fields, drop-down lists, check boxes, sliders."""
    left, top, right, bottom = pen.window(box, dice.pick(("Settings", "Options", "Properties")))
    x, tab = left + 8, dice.between(0, 2)
    for i, name in enumerate(dice.several(("General", "Display", "Network", "Sound", "Keys"), 4)):
        end = x + round(pen.face().getlength(name)) + 16
        if end > right - 4:
            break
        fill = pen.theme.field if i == tab else pen.theme.face
        pen.draw.rectangle((x, top + 6, end, top + 8 + pen.row), fill=fill, outline=pen.theme.line)
        pen.text(x + 8, top + 9, name, face=pen.face(style=BOLD if i == tab else REGULAR))
        x = end
    y = top + pen.row + 8
    pen.draw.rectangle((left + 8, y, right - 8, bottom - pen.row - 18), outline=pen.theme.line)
    y += 10
    column = left + 18 + (right - left) // 3
    while y + pen.row + 4 < bottom - pen.row - 20:
        _setting(pen, dice, (left + 18, y, right - 20, y + pen.row), column)
        y += pen.row + 8
    _answers(pen, dice, right, bottom)


def mail(pen: Pen, dice: Dice, box: Box) -> None:
    """A list of messages beside the text of one."""
    room = tool_bar(pen, dice, pen.window(box, "Inbox"))
    left, top, right, bottom = status_bar(pen, room, f"{dice.between(2, 900)} messages")
    split = left + (right - left) * 2 // 5
    pen.sunken((left, top, split, bottom))
    step, chosen = pen.size * 2 + 14, dice.between(0, 3)
    for i, y in enumerate(range(top + 1, bottom - step, step)):
        ink = _selected(pen, (left + 1, y, split - 1, y + step - 2), on=i == chosen)
        bold = BOLD if dice.chance(0.4) else REGULAR
        width = split - left - 12
        pen.text(
            left + 6, y + 3, words.full_name(dice), ink, face=pen.face(style=bold), width=width
        )
        pen.text(left + 6, y + pen.size + 6, words.title(dice), ink, width=width)
        pen.draw.line((left + 1, y + step - 1, split - 1, y + step - 1), fill=pen.theme.line)
    pen.sunken((split + 3, top, right, bottom))
    pen.text(split + 12, top + 8, words.title(dice), face=pen.face(style=BOLD),
             width=right - split - 28)  # fmt: skip
    y = top + pen.size + 20
    for line in _wrapped(pen, words.paragraph(dice, 12), right - split - 34):
        if y + pen.size + 4 > bottom:
            break
        pen.text(split + 12, y, line)
        y += pen.size + 5
    pen.scroll_bar((right - 12, top, right, bottom), 0.0, dice.real(0.2, 0.6))


def table(pen: Pen, dice: Dice, box: Box) -> None:
    """A spreadsheet with a formula line, headed columns and selected cells."""
    room = pen.window(box, f"{dice.pick(words.NOUNS).title()}.xlsx")
    left, top, right, bottom = tool_bar(pen, dice, menu_bar(pen, dice, room))
    column, row = dice.between(0, 3), dice.between(0, 8)
    name = f"{'ABCDEF'[column]}{row + 1}"
    pen.field((left + 3, top + 2, left + 50, top + pen.row + 2), name)
    pen.field(
        (left + 54, top + 2, right - 3, top + pen.row + 2), f"=SUM(B2:B{dice.between(5, 80)})"
    )
    top, edge, width = top + pen.row + 6, left + 30, dice.pick((52, 60, 74))
    pen.draw.rectangle((edge, top, right, bottom), fill=pen.theme.field)
    widths = range(edge, right, width)
    for letter, x in zip("ABCDEFGHIJ", widths, strict=False):
        pen.text(x + width // 2 - 3, top + 2, letter)
        pen.draw.line((x, top, x, bottom), fill=pen.theme.line)
    for i, y in enumerate(range(top + pen.row, bottom, pen.row)):
        pen.draw.line((left, y, right, y), fill=pen.theme.line)
        if y + pen.row > bottom:
            break
        pen.text(left + 6, y + 2, str(i + 1), pen.theme.faint)
        for j, x in enumerate(widths):
            text = dice.pick(words.NOUNS).title() if j == 0 else f"{dice.real(0, 2000):,.1f}"
            if x + width <= right and (j == 0 or dice.chance(0.85)):
                shift = 3 if j == 0 else width - 4 - round(pen.face().getlength(text))
                pen.text(x + shift, y + 2, text, width=width - 4)
    x, y = edge + column * width, top + pen.row * (row + 1)
    if y + pen.row < bottom:
        pen.draw.rectangle((x, y, x + width, y + pen.row), outline=pen.theme.accent, width=2)


def terminal(pen: Pen, dice: Dice, box: Box) -> None:
    """A shell: prompts, commands and their output in a fixed-width face."""
    user = f"{dice.pick(words.FIRST_NAMES).lower()}@{dice.pick(words.NOUNS)}"
    left, top, right, bottom = pen.window(box, user)
    ground, ink, prompt = dice.pick(TERMINALS)
    pen.draw.rectangle((left, top, right, bottom), fill=ground)
    face, y, step = pen.face("mono"), top + 4, pen.size + 3
    while y + step < bottom:
        lines = session(dice)
        x = pen.text(left + 5, y, f"{user}:~$ ", prompt, face=face)
        pen.text(x, y, lines[0], ink, face=face, width=right - x - 4)
        for line in lines[1:]:
            y += step
            if y + step < bottom:
                pen.text(left + 5, y, line, ink, face=face, width=right - left - 10)
        y += step


PROGRAMS: tuple[Program, ...] = (
    editor, editor, editor, files, files, form, form, mail, table, table, terminal, dialog,
)  # fmt: skip
TERMINALS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((12, 12, 12), (204, 204, 204), (22, 198, 12)),
    ((48, 10, 36), (238, 238, 236), (138, 226, 52)),
    ((255, 255, 255), (20, 20, 20), (0, 90, 180)),
    ((0, 43, 54), (131, 148, 150), (38, 139, 210)),
    ((0, 0, 0), (0, 220, 60), (0, 220, 60)),
)


def _tree(pen: Pen, dice: Dice, box: Box) -> int:
    """Folders in a side bar; returns where it ends."""
    left, top, right, bottom = box
    pen.draw.rectangle(box, fill=mix(pen.theme.face, pen.theme.field, 0.5))
    chosen = dice.between(0, 6)
    for i, y in enumerate(range(top + 4, bottom - pen.row, pen.row)):
        ink = _selected(pen, (left, y, right, y + pen.row - 1), on=i == chosen)
        indent = left + 4 + 10 * dice.between(0, 1)
        icon(pen, (indent, y + 1), FILE_ICONS[0])
        pen.text(indent + 18, y + 2, dice.pick(words.NOUNS).title(), ink, width=right - indent - 20)
    pen.draw.line((right, top, right, bottom), fill=pen.theme.line)
    return right + 1


def _icon_grid(pen: Pen, dice: Dice, box: Box) -> None:
    left, top, right, bottom = box
    for y in range(top + 10, bottom - 50, 62):
        for x in range(left + 12, right - 56, 68):
            glyph = dice.pick(FILE_ICONS)
            small = Image.new("RGB", (15, 15), pen.theme.field)
            glyph(Pen(small, pen.theme, pen.size).draw, 0, 0, pen.theme.ink)
            pen.image.paste(small.resize((30, 30), Image.Resampling.LANCZOS), (x + 14, y))
            pen.text(x, y + 34, _file_name(dice), width=58)


def _header(pen: Pen, box: Box, edges: tuple[int, ...], names: tuple[str, ...]) -> None:
    pen.draw.rectangle(box, fill=pen.theme.face, outline=pen.theme.line)
    for x, name in zip(edges, names, strict=True):
        if x > box[2] - 20:
            return
        pen.text(x + 2, box[1] + 3, name)
        pen.draw.line((x - 3, box[1], x - 3, box[3]), fill=pen.theme.line)


def _selected(pen: Pen, box: Box, *, on: bool) -> Colour:
    """Marks a row if it is selected; returns the colour of its text."""
    if not on:
        return pen.theme.ink
    pen.draw.rectangle(box, fill=pen.theme.accent)
    return (255, 255, 255)


def _setting(pen: Pen, dice: Dice, box: Box, column: int) -> None:
    left, y, right, bottom = box
    label = words.noun_phrase(dice).split(" ", 1)[1].capitalize()
    kind = dice.between(0, 4)
    if kind <= 1:
        pen.check(left, y + 2, label, on=dice.chance(0.5), radio=kind == 1)
        return
    pen.text(left, y + 3, f"{label}:", width=column - left - 6)
    if kind == 4:
        middle, knob = (y + bottom) // 2, dice.between(column, right - 10)
        pen.draw.rectangle((column, middle - 1, right, middle + 1), fill=pen.theme.line)
        pen.draw.rectangle((column, middle - 1, knob, middle + 1), fill=pen.theme.accent)
        pen.draw.ellipse((knob - 6, middle - 6, knob + 6, middle + 6), fill=pen.theme.field,
                         outline=pen.theme.faint)  # fmt: skip
        return
    text = dice.pick((words.title(dice), str(dice.between(1, 4096)), words.full_name(dice)))
    pen.field((column, y, right, bottom), text, arrow=kind == 3)


def _answers(pen: Pen, dice: Dice, right: int, bottom: int) -> None:
    """Buttons at the lower right."""
    labels = dice.pick((("OK", "Cancel"), ("Yes", "No", "Cancel"), ("Apply", "Close"), ("OK",)))
    width = max(54, pen.size * 5)
    for i, label in enumerate(reversed(labels)):
        x = right - 10 - (width + 8) * i
        pen.button((x - width, bottom - pen.row - 10, x, bottom - 8), label,
                   default=i == len(labels) - 1, grey=dice.chance(0.1))  # fmt: skip


def _wrapped(pen: Pen, text: str, width: int) -> list[str]:
    lines, face = [""], pen.face()
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _file_name(dice: Dice) -> str:
    suffix = dice.pick(("txt", "pdf", "png", "docx", "csv", "zip", "py", "jpg"))
    joined = dice.pick((f"_{dice.pick(words.NOUNS)}", str(dice.between(1, 99)), ""))
    return f"{dice.pick(words.NOUNS)}{joined}.{suffix}"
