"""Draws specifications in a process of its own: the renderer takes 100 MiB and more, which end with it.

That process runs this file and imports nothing else of the library: it starts in a tenth of a second.
"""

import io
import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO

SCALE = 2.0
"""Pixels of a PNG for each of the SVG: some 200 dots an inch at the width of a column."""


class Drawing:
    """The process, from the first picture to the end of a `with`."""

    def __init__(self) -> None:
        """It starts with the first picture."""
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - see __exit__

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            # Closes its pipes, too.
            self._process.communicate()
        self._said.close()

    def of(self, spec: str) -> tuple[bytes, bytes]:
        """The SVG and the PNG of a Vega-Lite specification in one line of JSON.

        Raises:
            InterferoError: it cannot be drawn, or the process died.
        """
        if self._process is None:
            # Not from the folder of this file, whose modules are not to be taken for others.
            command = [sys.executable, "-P", __file__]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
            )
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
    few.save(file, "PNG")
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
