"""Parts of program windows: themes, frames, buttons, fields, scroll bars and icons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from interfero.domains.rendering.dice import Dice
from interfero.domains.rendering.fonts import BOLD, REGULAR, font

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""(left, top, right, bottom)"""


@dataclass(frozen=True)
class Theme:
    """Colours and habits of one desktop."""

    desktop: tuple[Colour, Colour]
    """Top and bottom of the background."""
    title: Colour
    title_ink: Colour
    face: Colour
    """Of menus, tool bars and dialogs."""
    field: Colour
    """Of text areas and lists."""
    ink: Colour
    faint: Colour
    line: Colour
    accent: Colour
    code: tuple[Colour, Colour, Colour, Colour, Colour]
    """Keyword, string, comment, number, name."""
    radius: int
    buttons: str
    """`right`: minimise, maximise and close; `lights`: three discs on the left."""
    bevel: bool = False
    """Raised and sunken edges, as in the 1990s."""


_DAY = ((0, 0, 200), (163, 21, 21), (0, 128, 0), (9, 134, 88), (121, 94, 38))
_DUSK = ((197, 134, 192), (206, 145, 120), (106, 153, 85), (181, 206, 168), (220, 220, 170))
_SOLAR = ((133, 153, 0), (42, 161, 152), (147, 161, 161), (211, 54, 130), (38, 139, 210))
_ONE = ((198, 120, 221), (152, 195, 121), (92, 99, 112), (209, 154, 102), (97, 175, 239))

THEMES = (
    Theme(((0, 90, 158), (0, 40, 92)), (255, 255, 255), (0, 0, 0), (243, 243, 243),
          (255, 255, 255), (16, 16, 16), (110, 110, 110), (209, 209, 209), (0, 103, 192), _DAY,
          6, "right"),
    Theme(((34, 40, 64), (12, 14, 24)), (32, 32, 32), (240, 240, 240), (43, 43, 43), (30, 30, 30),
          (212, 212, 212), (140, 140, 140), (62, 62, 66), (0, 122, 204), _DUSK, 6, "right"),
    Theme(((0, 128, 128), (0, 128, 128)), (0, 0, 128), (255, 255, 255), (192, 192, 192),
          (255, 255, 255), (0, 0, 0), (110, 110, 110), (128, 128, 128), (0, 0, 128), _DAY,
          0, "right", bevel=True),
    Theme(((222, 160, 120), (92, 72, 140)), (232, 230, 232), (60, 60, 60), (246, 246, 246),
          (255, 255, 255), (30, 30, 32), (130, 130, 134), (214, 214, 216), (0, 122, 255), _DAY,
          9, "lights"),
    Theme(((60, 40, 90), (20, 24, 54)), (58, 58, 60), (220, 220, 222), (44, 44, 46), (30, 30, 32),
          (235, 235, 240), (152, 152, 157), (72, 72, 74), (10, 132, 255), _ONE, 9, "lights"),
    Theme(((119, 33, 111), (64, 16, 56)), (48, 48, 48), (255, 255, 255), (250, 250, 250),
          (255, 255, 255), (61, 61, 61), (140, 140, 140), (205, 199, 194), (233, 84, 32), _DAY,
          7, "right"),
    Theme(((88, 110, 117), (7, 54, 66)), (238, 232, 213), (88, 110, 117), (238, 232, 213),
          (253, 246, 227), (88, 110, 117), (147, 161, 161), (211, 203, 183), (38, 139, 210), _SOLAR,
          3, "right"),
    Theme(((92, 138, 220), (70, 130, 90)), (0, 84, 227), (255, 255, 255), (236, 233, 216),
          (255, 255, 255), (0, 0, 0), (120, 118, 108), (172, 168, 153), (49, 106, 197), _DAY,
          5, "right"),
)  # fmt: skip


class Pen:
    """Draws widgets of one theme at one text size."""

    def __init__(self, image: Image.Image, theme: Theme, size: int) -> None:
        """Draw on `image`; `size` is the height of the interface's font in pixels."""
        self.image = image
        self.draw = ImageDraw.Draw(image)
        self.theme = theme
        self.size = size
        self.row = size + 8
        """Height of a menu, list or tree row."""

    def face(self, family: str = "sans", style: int = REGULAR) -> ImageFont.FreeTypeFont:
        """A font at the interface's size."""
        return font(family, self.size, style)

    def text(
        self,
        x: int,
        y: int,
        text: str,
        fill: Colour | None = None,
        *,
        face: ImageFont.FreeTypeFont | None = None,
        width: int | None = None,
    ) -> int:
        """One line of text, shortened with an ellipsis to `width`; returns where it ends."""
        face = face or self.face()
        if width is not None and face.getlength(text) > width:
            while text and face.getlength(text + "…") > width:
                text = text[:-1]
            text += "…"
        self.draw.text((x, y), text, font=face, fill=fill or self.theme.ink)
        return x + round(face.getlength(text))

    def sunken(self, box: Box, fill: Colour | None = None) -> None:
        """The frame of a text field or a list."""
        self.draw.rectangle(box, fill=fill or self.theme.field, outline=self.theme.line)
        if self.theme.bevel:
            self._edges(box, (128, 128, 128), (255, 255, 255))

    def button(self, box: Box, label: str, *, default: bool = False, grey: bool = False) -> None:
        """A push button; `default` is the one that Enter presses."""
        theme = self.theme
        flat_default = default and not theme.bevel
        fill = theme.accent if flat_default else mix(theme.face, theme.field, 0.5)
        radius = min(4, theme.radius)
        self.draw.rounded_rectangle(box, radius, fill=fill, outline=theme.line)
        if theme.bevel:
            self._edges(box, (255, 255, 255), (96, 96, 96))
        ink = (255, 255, 255) if flat_default else theme.faint if grey else theme.ink
        x = (box[0] + box[2] - round(self.face().getlength(label))) // 2
        self.text(x, (box[1] + box[3] - self.size) // 2 - 1, label, ink)

    def field(self, box: Box, text: str, *, arrow: bool = False) -> None:
        """A text field, or a drop-down list with its arrow."""
        self.sunken(box)
        self.text(box[0] + 4, (box[1] + box[3] - self.size) // 2 - 1, text,
                  width=box[2] - box[0] - (24 if arrow else 8))  # fmt: skip
        if arrow:
            x, y = box[2] - 10, (box[1] + box[3]) // 2
            self.draw.polygon([(x - 4, y - 2), (x + 4, y - 2), (x, y + 3)], fill=self.theme.ink)

    def check(self, x: int, y: int, label: str, *, on: bool, radio: bool = False) -> None:
        """A check box or radio button with its label."""
        side, theme = self.size, self.theme
        box = (x, y + 1, x + side, y + 1 + side)
        fill = theme.accent if on and not theme.bevel else theme.field
        mark = theme.ink if theme.bevel else (255, 255, 255)
        if radio:
            self.draw.ellipse(box, fill=fill, outline=theme.faint)
            if on:
                self.draw.ellipse((x + 4, y + 5, x + side - 4, y + side - 3), fill=mark)
        else:
            self.draw.rounded_rectangle(box, min(2, theme.radius), fill=fill, outline=theme.faint)
            if on:
                points = [(x + 2, y + side // 2 + 1), (x + side // 2 - 1, y + side - 2)]
                self.draw.line([*points, (x + side - 2, y + 4)], fill=mark, width=2)
        self.text(x + side + 6, y, label)

    def scroll_bar(self, box: Box, start: float, share: float) -> None:
        """A vertical scroll bar whose thumb covers `share` of the track from `start` on."""
        theme, (left, top, right, bottom) = self.theme, box
        self.draw.rectangle(box, fill=mix(theme.face, theme.line, 0.25))
        if theme.bevel:
            for y in (top, bottom - 14):
                self.button((left, y, right, y + 14), "")
            top, bottom = top + 15, bottom - 15
        length = bottom - top
        thumb = (left + 2, top + round(start * length), right - 2,
                 top + round(min(1.0, start + share) * length))  # fmt: skip
        if theme.bevel:
            self.draw.rectangle(thumb, fill=theme.face)
            self._edges(thumb, (255, 255, 255), (96, 96, 96))
        else:
            self.draw.rounded_rectangle(thumb, 4, fill=mix(theme.line, theme.ink, 0.25))

    def window(self, box: Box, title: str, *, active: bool = True) -> Box:
        """A frame with shadow, title bar and its buttons; returns the room inside."""
        theme, height = self.theme, self.size + 14
        self._shadow(box)
        self.draw.rounded_rectangle(box, theme.radius, fill=theme.face, outline=theme.line)
        left, top, right, bottom = box
        bar = theme.title if active else mix(theme.title, theme.face, 0.6)
        corners = (True, True, False, False)
        self.draw.rounded_rectangle((left, top, right, top + height), theme.radius, fill=bar,
                                    outline=theme.line, corners=corners)  # fmt: skip
        if theme.bevel:
            self._edges(box, (255, 255, 255), (64, 64, 64))
        y = top + (height - self.size) // 2 - 1
        if theme.buttons == "lights":
            for i, colour in enumerate(((255, 95, 87), (254, 188, 46), (40, 200, 64))):
                x = left + 12 + 18 * i
                fill = colour if active else theme.line
                self.draw.ellipse(
                    (x - 5, top + height // 2 - 5, x + 5, top + height // 2 + 5), fill
                )
            width = round(self.face(style=BOLD).getlength(title))
            x = max(left + 66, (left + right - width) // 2)
            self.text(x, y, title, theme.title_ink, face=self.face(style=BOLD), width=right - x)
        else:
            self._title_buttons(right, top, height)
            icon(self, (left + 6, top + height // 2 - 7), ICONS[len(title) % len(ICONS)])
            self.text(left + 26, y, title, theme.title_ink, width=right - left - 110,
                      face=self.face(style=BOLD if theme.bevel else REGULAR))  # fmt: skip
        return (left + 1, top + height + 1, right - 1, bottom - 1)

    def _title_buttons(self, right: int, top: int, height: int) -> None:
        middle = top + height // 2
        for i, kind in enumerate(("close", "maximise", "minimise")):
            x = right - 16 - i * (18 if self.theme.bevel else 24)
            ink = self.theme.title_ink
            if self.theme.bevel:
                self.button((x - 8, middle - 7, x + 7, middle + 7), "")
                ink = (0, 0, 0)
            if kind == "close":
                self.draw.line((x - 4, middle - 4, x + 4, middle + 4), fill=ink)
                self.draw.line((x - 4, middle + 4, x + 4, middle - 4), fill=ink)
            elif kind == "maximise":
                self.draw.rectangle((x - 4, middle - 4, x + 4, middle + 4), outline=ink)
            else:
                self.draw.line((x - 4, middle + 3, x + 4, middle + 3), fill=ink)

    def _shadow(self, box: Box) -> None:
        if self.theme.bevel:
            return
        for reach, strength in ((8, 0.05), (6, 0.06), (4, 0.07), (2, 0.09), (1, 0.1)):
            area = (box[0] - reach, box[1] - reach + 3, box[2] + reach, box[3] + reach + 3)
            mask = Image.new("L", self.image.size, 0)
            radius = self.theme.radius + reach
            ImageDraw.Draw(mask).rounded_rectangle(area, radius, round(255 * strength))
            self.image.paste((0, 0, 0), (0, 0), mask)

    def _edges(self, box: Box, light: Colour, dark: Colour) -> None:
        left, top, right, bottom = box
        self.draw.line([(left, bottom), (left, top), (right, top)], fill=light)
        self.draw.line([(left, bottom), (right, bottom), (right, top)], fill=dark)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """A colour between `a` (share 0) and `b` (share 1)."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def desktop(size: tuple[int, int], theme: Theme) -> Image.Image:
    """The background: one colour, or a gradient from top to bottom."""
    ramp = Image.linear_gradient("L").resize(size)
    top, bottom = (Image.new("RGB", size, colour) for colour in theme.desktop)
    return Image.composite(bottom, top, ramp)


Glyph = Callable[[ImageDraw.ImageDraw, int, int, Colour], None]


def _folder(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.rectangle((x + 1, y + 2, x + 6, y + 5), fill=(217, 164, 65))
    draw.rectangle((x + 1, y + 4, x + 13, y + 12), fill=(255, 213, 107), outline=(190, 140, 50))


def _file(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.polygon([(x + 2, y), (x + 9, y), (x + 12, y + 3), (x + 12, y + 13), (x + 2, y + 13)],
                 fill=(255, 255, 255), outline=(120, 130, 145))  # fmt: skip
    for i in (5, 7, 9):
        draw.line((x + 4, y + i, x + 10, y + i), fill=(150, 165, 190))


def _disk(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.rectangle((x + 1, y + 1, x + 13, y + 13), fill=(66, 94, 170), outline=(38, 56, 110))
    draw.rectangle((x + 4, y + 1, x + 10, y + 5), fill=(214, 220, 232))
    draw.rectangle((x + 3, y + 8, x + 11, y + 13), fill=(245, 245, 245))


def _picture(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.rectangle((x, y + 2, x + 14, y + 12), fill=(170, 214, 245), outline=(90, 110, 130))
    draw.polygon([(x + 1, y + 11), (x + 5, y + 6), (x + 9, y + 11)], fill=(88, 150, 88))
    draw.ellipse((x + 9, y + 4, x + 12, y + 7), fill=(250, 210, 60))


def _lens(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.ellipse((x + 1, y + 1, x + 9, y + 9), outline=ink, width=2)
    draw.line((x + 8, y + 8, x + 13, y + 13), fill=ink, width=2)


def _back(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.line((x + 2, y + 7, x + 13, y + 7), fill=ink, width=2)
    draw.line([(x + 7, y + 2), (x + 2, y + 7), (x + 7, y + 12)], fill=ink, width=2)


def _run(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.polygon([(x + 3, y + 1), (x + 13, y + 7), (x + 3, y + 13)], fill=(60, 170, 80))


def _stop(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.rectangle((x + 2, y + 2, x + 12, y + 12), fill=(208, 64, 52))


def _gear(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    for a, b in ((7, 0), (7, 14), (0, 7), (14, 7), (2, 2), (12, 12), (2, 12), (12, 2)):
        draw.line((x + 7, y + 7, x + a, y + b), fill=ink, width=2)
    draw.ellipse((x + 3, y + 3, x + 11, y + 11), fill=ink)
    draw.ellipse((x + 5, y + 5, x + 9, y + 9), fill=(200, 200, 200))


def _plus(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.line((x + 7, y + 1, x + 7, y + 13), fill=(70, 150, 60), width=3)
    draw.line((x + 1, y + 7, x + 13, y + 7), fill=(70, 150, 60), width=3)


def _mail(draw: ImageDraw.ImageDraw, x: int, y: int, ink: Colour) -> None:
    draw.rectangle((x, y + 2, x + 14, y + 12), fill=(252, 248, 236), outline=(130, 120, 100))
    draw.line([(x, y + 2), (x + 7, y + 8), (x + 14, y + 2)], fill=(130, 120, 100))


ICONS: tuple[Glyph, ...] = (
    _folder, _file, _disk, _picture, _lens, _back, _run, _stop, _gear, _plus, _mail,
)  # fmt: skip
FILE_ICONS: tuple[Glyph, ...] = (_folder, _file, _file, _picture)
DIALOG_ICONS: tuple[Glyph, ...] = (_gear, _file, _disk, _mail)


def icon(pen: Pen, at: tuple[int, int], glyph: Glyph) -> None:
    """A 15-pixel pictogram with its top left corner at `at`."""
    glyph(pen.draw, at[0], at[1], pen.theme.ink)


def tool_bar(pen: Pen, dice: Dice, room: Box) -> Box:
    """A row of icons with separators; returns the room below."""
    left, top, right, bottom = room
    height, x = 26, left + 6
    for glyph in dice.several(ICONS, dice.between(5, 10)):
        if x + 20 > right:
            break
        icon(pen, (x, top + 5), glyph)
        x += 24
        if dice.chance(0.2):
            pen.draw.line((x, top + 4, x, top + height - 5), fill=pen.theme.line)
            x += 6
    pen.draw.line((left, top + height, right, top + height), fill=pen.theme.line)
    return (left, top + height + 1, right, bottom)


def menu_bar(pen: Pen, dice: Dice, room: Box) -> Box:
    """File, Edit, View ...; returns the room below."""
    left, top, right, bottom = room
    names = ("File", "Edit", "View", "Insert", "Format", "Tools", "Window", "Help")
    x = left + 8
    for name in names[: dice.between(4, 8)]:
        x = pen.text(x, top + 3, name) + 12
        if x > right - 40:
            break
    pen.draw.line((left, top + pen.row, right, top + pen.row), fill=pen.theme.line)
    return (left, top + pen.row + 1, right, bottom)


def status_bar(pen: Pen, room: Box, text: str) -> Box:
    """A line of text at the foot; returns the room above."""
    left, top, right, bottom = room
    edge = bottom - pen.row
    pen.draw.line((left, edge, right, edge), fill=pen.theme.line)
    pen.text(left + 6, edge + 3, text, pen.theme.faint, width=right - left - 12)
    return (left, top, right, edge - 1)
