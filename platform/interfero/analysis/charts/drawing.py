"""Draws specifications in a process of its own: the renderer takes 100 MiB and more, which end with it.

That process runs this file and imports nothing else of the library: it starts in a tenth of a second.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

SCALE = 2.0
"""Pixels of a PNG for each of the SVG: some 200 dots an inch at the width of a column."""
NO_FONTS = Path(__file__).with_name("no_fonts.conf")
"""Names no folder of fonts: what is drawn has the font that is in vl-convert, on every machine.

vl-convert 1.9 opens a font's file anew for every glyph that it sets; its own font is in memory.
"""
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")
_BEYOND = re.compile(
    "[^\0-\u024f\u0386-\u03ce\u0400-\u0513\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u2212\u2248\u2260\u2264\u2265]"
)
"""What vl-convert's font (Liberation Sans) may not have: neither Latin, Greek, Cyrillic nor usual signs."""


class Drawing:
    """Up to two processes, each from its first picture to the end of a `with`.

    One has a font of its own; the other, for names in scripts that this font lacks, those of the machine.
    """

    def __init__(self) -> None:
        """They start with the first picture."""
        self._own, self._machine = _Process({"FONTCONFIG_FILE": str(NO_FONTS)}), _Process({})

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._own.end()
        self._machine.end()

    def of(self, spec: str) -> tuple[bytes, bytes]:
        """The SVG and the PNG of a Vega-Lite specification in one line of JSON.

        Raises:
            InterferoError: it cannot be drawn, or the process died.
        """
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), spec)
        return (self._machine if _BEYOND.search(text) else self._own).of(spec)


class _Process:
    """One process and its pipes; it starts with its first picture."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - see end

    def end(self) -> None:
        """End it, if it ever began."""
        if self._process is not None:
            self._process.kill()
            # Closes its pipes, too.
            self._process.communicate()
        self._said.close()

    def of(self, spec: str) -> tuple[bytes, bytes]:
        """See `Drawing.of`."""
        if self._process is None:
            # Not from the folder of this file, whose modules are not to be taken for others.
            command = [sys.executable, "-P", __file__]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env=self._environment,
            )  # fmt: skip
        taken, given = self._process.stdin, self._process.stdout
        assert taken is not None
        assert given is not None
        try:
            taken.write(spec.encode() + b"\n")
            taken.flush()
            sizes = json.loads(given.readline())
            svg, png = (given.read(size) for size in sizes)
        except (BrokenPipeError, ValueError) as error:
            raise self._failed() from error
        return svg, png

    def _failed(self) -> Exception:
        from interfero.errors import InterferoError

        assert self._process is not None
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        # What JavaScript says stands above its frames.
        said = next((line for line in reversed(lines) if "Error: " in line), lines[-1])
        return InterferoError(
            f"the figures cannot be drawn: the process that draws them ended with {self._process.returncode} "
            f"and said {said[:300]!r}; what is measured is kept, and `interfero report` tries again"
        )


def png_of(svg: str) -> bytes:
    """A PNG of an SVG, in 256 colours: an eighth of the bytes that it has in 16 million."""
    import vl_convert
    from PIL import Image

    with Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=SCALE))) as picture:
        few = picture.convert("RGB").quantize(
            method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    file = io.BytesIO()
    few.save(file, "PNG", compress_level=4)
    return file.getvalue()


def main() -> None:
    """Answer each line, a specification, with a line of two sizes and so many bytes of SVG and of PNG."""
    import vl_convert

    for line in sys.stdin.buffer:
        svg = vl_convert.vegalite_to_svg(line.decode())
        made = svg.encode(), png_of(svg)
        sys.stdout.buffer.write(json.dumps([len(data) for data in made]).encode() + b"\n")
        sys.stdout.buffer.writelines(made)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
