"""The control: fine-tuning on the source domain itself, never on the target.

What it changes on source images is not interference. With the images the codec was trained on it is
unfinished training; with others, such as the bundled photographs, the drift that any further training
brings. It belongs in every sweep.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.finetune import Finetune
from interfero.adaptation.table import TrainsOn


class ContinueSource(Finetune):
    """Fine-tuning that goes on with the source domain."""

    name: ClassVar[str] = "continue_source"
    paper: ClassVar[str] = "control"
    trains_on: ClassVar[TrainsOn] = "source"
