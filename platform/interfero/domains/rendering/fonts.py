"""The fonts that matplotlib ships: DejaVu, and STIX, whose letters are those of Times."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

from interfero.errors import DomainError

_FILES = {
    "sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"),
    "serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    "mono": ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    "times": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
}
FAMILIES = tuple(_FILES)
REGULAR, BOLD, ITALIC = range(3)


@cache
def font(family: str, size: int, style: int = REGULAR) -> ImageFont.FreeTypeFont:
    """A font from matplotlib's own files, `size` pixels high.

    Raises:
        DomainError: the installed matplotlib has no such file.
    """
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{_FILES[family][style]}.ttf"
    if not path.is_file():
        raise DomainError(
            f"rendered domains need {path.name} from the package matplotlib, there is no {path}: "
            "run `pip install --force-reinstall matplotlib`"
        )
    # Raqm is there only where the system has FriBiDi, and it places letters differently.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
