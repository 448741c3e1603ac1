#!/usr/bin/env bash
# vl-convert 1.9.0.post1 maps the file of an installed font into memory anew for every glyph that it draws.
#
# Its own font (Liberation Sans) is compiled in. One that is installed on the machine is found first, and is a file: a
# picture with 2,000 letters then costs tens of thousands of page faults, and nearly twice the CPU time. So the figures of
# a report cost more on a machine that has the same font than on one that has none. Fontconfig's variable
# FONTCONFIG_FILE chooses the folders that are searched.
#
# Output seen (page faults of one conversion after the first, on Linux):
#   Liberation Sans, compiled in: 10 letters 4, 2000 letters 4
#   DejaVu Sans, a file: 10 letters 126, 2000 letters 25200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
pip() { "$folder/env/bin/pip" "$@" --quiet --disable-pip-version-check; }
pip install vl-convert-python==1.9.0.post1
pip download --no-deps --dest "$folder/wheel" matplotlib==3.11.2
mkdir "$folder/fonts"
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys, zipfile
from pathlib import Path

folder = Path(sys.argv[1])
(wheel,) = (folder / "wheel").glob("*.whl")
with zipfile.ZipFile(wheel) as file:
    (name,) = (n for n in file.namelist() if n.endswith("/DejaVuSans.ttf"))
    (folder / "fonts/DejaVuSans.ttf").write_bytes(file.read(name))
text = "<?xml version='1.0'?><fontconfig><dir>{}</dir></fontconfig>"
(folder / "fonts.conf").write_text(text.format(folder / "fonts"))
PYTHON
export FONTCONFIG_FILE="$folder/fonts.conf"
"$folder/env/bin/python" - <<'PYTHON'
import resource

import vl_convert

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="900">{}</svg>'
TEXT = '<text x="5" y="{}" font-size="12" font-family="{}">{}</text>'


def faults(font, lines):
    """Page faults of one conversion of so many lines of ten letters."""
    svg = SVG.format("".join(TEXT.format(9 + 4 * i, font, "abcdefghij") for i in range(lines)))
    counts = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        vl_convert.svg_to_png(svg)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts)


found = {}
for font, kind in (("Liberation Sans", "compiled in"), ("DejaVu Sans", "a file")):
    found[font] = few, many = faults(font, 1), faults(font, 200)
    print(f"{font}, {kind}: 10 letters {few}, 2000 letters {many}")
more = {font: many - few for font, (few, many) in found.items()}
assert more["DejaVu Sans"] > 2000 + 5 * more["Liberation Sans"]
PYTHON
