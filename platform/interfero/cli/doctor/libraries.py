"""Python, the torch/torchvision pair and the GPUs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from interfero.cli.doctor.finding import Finding

PYTHONS = ((3, 11), (3, 12))
"""CompressAI has wheels for these two and pins numpy<2, which newer Pythons lack."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
IMPORT_S = 120
"""A first import from a cold disk may take a minute."""
REINSTALL = "install both from the lock file: make -B install, or pip install -r requirements.lock"

_USE_THE_PAIR = """
import torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
assert torchvision.ops.nms(boxes, torch.tensor([1.0, 0.5]), 0.5).tolist() == [0]
"""


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """The Python that runs this."""
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version[:2] in PYTHONS:
        return Finding("python", found)
    return Finding(
        "python",
        f"{found}; CompressAI has wheels for 3.11 and 3.12 only",
        "build the environment with one of these: make install PYTHON=/path/to/python3.12",
    )


def check_torch_pair(python: str = sys.executable) -> Finding:
    """Whether torchvision's compiled operators run on the torch beside it.

    In a process of its own: a pair that does not fit may crash rather than raise.
    """
    pair = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
    try:
        done = subprocess.run(
            [python, "-W", "ignore", "-c", _USE_THE_PAIR],
            capture_output=True,
            text=True,
            timeout=IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("torch pair", f"{pair}: no answer in {IMPORT_S} s", REINSTALL)
    if done.returncode == 0:
        return Finding("torch pair", pair)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    reason = said[-1].strip()[:200] if said else f"exit code {done.returncode}"
    return Finding("torch pair", f"{pair} do not work together: {reason}", REINSTALL)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(missing)"


def check_gpus(driver: Path = NVIDIA_DRIVER) -> Finding:
    """Whether torch computes on every GPU that the driver has; none at all is fine."""
    try:
        import torch
    except (ImportError, OSError) as error:
        # OSError: a library of CUDA that is not there.
        said = str(error).splitlines() or [type(error).__name__]
        return Finding("gpus", f"torch cannot be imported: {said[0][:200]}", REINSTALL)
    if not driver.exists() and not torch.cuda.is_available():
        return Finding("gpus", "none: sweeps train on the CPU")
    if torch.version.cuda is None:
        return Finding("gpus", "an NVIDIA driver, but torch is built without CUDA", REINSTALL)
    if not torch.cuda.is_available():
        return Finding(
            "gpus",
            f"an NVIDIA driver, but torch (CUDA {torch.version.cuda}) sees no GPU",
            "check nvidia-smi and CUDA_VISIBLE_DEVICES; update a driver older than torch's CUDA; "
            "docker run --gpus all",
        )
    names = []
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        try:
            ones = torch.ones(64, 64, device=f"cuda:{index}")
            computed = float((ones @ ones).sum().item())
        except RuntimeError as error:
            return _broken(index, name, str(error).splitlines()[0])
        if computed != 64.0**3:
            return _broken(index, name, f"a product of ones is {computed}")
        names.append(name)
    return Finding("gpus", f"CUDA {torch.version.cuda}: {', '.join(names)}")


def _broken(index: int, name: str, reason: str) -> Finding:
    return Finding(
        "gpus",
        f"GPU {index} ({name}) does not compute: {reason[:200]}",
        "stop what uses it, update the driver, or leave it out with CUDA_VISIBLE_DEVICES",
    )
