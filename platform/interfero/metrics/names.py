"""What MLflow and the tables call the metrics that analysis reads, and the tasks they score, in one place."""

from __future__ import annotations

from typing import Literal

LabelKind = Literal["pixels", "images", "edges"]
"""Whether an image has a class for every pixel, one for the whole, or pixels that are edges or not."""
TaskName = Literal["segmentation", "classification", "edges"]

VALIDATION_GAIN = "val/rd_gain_percent"
"""Percent of the target's loss before adapting, higher is better: what every choice reads."""
VALIDATION_ROUTED = "val/forgetting_percent"
"""Percent of the source's loss before adapting, lower is better, in the mode of a deployment."""
VALIDATION_UNROUTED = "val/forgetting_unrouted_percent"
"""The same through target mode."""

GAIN = "target/rd_gain_percent"
"""Gain on test images, as all metrics that follow."""
ROUTED = "source/forgetting_percent"
UNROUTED = "source/forgetting_unrouted_percent"
OLD_PIXELS = "bitstream/old_pixels_exact"
"""Fraction of old bitstreams."""
OLD_DROP = "bitstream/old_psnr_drop_db"
SOURCE_BYTES = "source_mode/bytes_exact"
"""Fraction of source images."""
SOURCE_PIXELS = "source_mode/pixels_exact"

FRACTION = "adapter_fraction"
"""Live trained parameters over the source codec's."""
NUM_PARAMS = "adapter/num_params"
FILE_BYTES = "adapter/file_bytes"
