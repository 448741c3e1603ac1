"""Streams coded on one setting and decoded on others: `python benchmarks/portability.py`.

Every setting is a fresh process: oneDNN's instruction set (`ONEDNN_MAX_CPU_ISA`), PyTorch's
(`ATEN_CPU_CAPABILITY`), threads, batch, memory format, and with `--other-python` another release of
PyTorch. All bundled codecs at every lambda in source mode, and target mode of every method that
detaches. The peer is CompressAI with the same weights in the same run: its networks in floats and its
strings (a test holds that they are its own, bit for bit), read by a decoder that a derailed stream cannot
crash. The figure: images broken (other symbols), refused, or more than a level apart, of all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from _portability_child import Job
from _report import Target, finish, run
from rich.console import Console
from rich.table import Table

from interfero.adaptation import METHODS
from interfero.codecs.catalogue import available_lambdas, bundled_names
from interfero.domains.catalogue import load_domain
from interfero.errors import ConfigError

TARGET = Target("<=", 0)
CHILD = Path(__file__).with_name("_portability_child.py")
ADAPTED = "mbt2018-mean"
TARGET_LAMBDA = 0.013


@dataclass(frozen=True)
class Setting:
    """How one process decodes."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    batch: int = 1
    memory_format: str = "contiguous"
    needs: str = ""
    """A flag of /proc/cpuinfo without which this setting would be the default's."""
    python: str = sys.executable


SETTINGS = (
    Setting("default"),
    Setting("oneDNN SSE41", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("oneDNN AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, needs="avx2"),
    Setting("oneDNN AVX512_CORE", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, needs="avx512f"),
    Setting("ATen default", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("ATen avx2", {"ATEN_CPU_CAPABILITY": "avx2"}, needs="avx2"),
    Setting("two threads", threads=2),
    Setting("batch of eight", batch=8),
    Setting("channels_last", memory_format="channels_last"),
    Setting(
        "SSE41, two threads, eight, channels_last",
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
        2, 8, "channels_last",
    ),
)  # fmt: skip


def cpu_flags() -> set[str]:
    """What the processor can do, as far as the system says."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {f for line in lines if line.startswith("flags") for f in line.split()}


def crops(domains: Sequence[str], count: int, side: int) -> tuple[list[str], np.ndarray]:
    """As many images of each domain, cut to squares; and of which domain each is."""
    names, images = [], []
    for spec in domains:
        domain = load_domain(spec)
        large = [s for s in (*domain.test, *domain.train) if min(s.pixels_HWC.shape[:2]) >= side]
        for sample in large[: -(-count // len(domains))]:
            names.append(domain.name)
            images.append(sample.pixels_HWC[:side, :side])
    if not images:
        raise ConfigError(
            f"no image of {', '.join(domains)} has {side} pixels a side: lower --side"
        )
    return names[:count], np.stack(images[:count])


def jobs_of(lambdas: Sequence[float]) -> list[Job]:
    """Source mode at every lambda, target mode of every detaching method, and the peer."""
    jobs = []
    for source in bundled_names():
        for value in lambdas or available_lambdas(source):
            jobs += [Job(source, value, None), Job(source, value, None, exact=False)]
    methods = [name for name, method in METHODS.items() if method.detaches]
    return jobs + [Job(ADAPTED, TARGET_LAMBDA, name) for name in methods]


def call(python: str, environment: Mapping[str, str], *arguments: object) -> None:
    """Run the child, its library path as this process has it."""
    paths = [str(Path(__file__).parents[1] / "platform"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [python, "-W", "ignore", str(CHILD), *map(str, arguments)]
    subprocess.run(command, env=env, check=True)


def decode_under(setting: Setting, folder: Path) -> dict[str, Any]:
    """What one setting makes of all streams; read back if the folder has it already."""
    out = folder / f"{setting.name}.json"
    how = (setting.threads, setting.batch, setting.memory_format)
    if not out.exists():
        call(setting.python, setting.environment, "decode", folder, out, *how)
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def prepare(folder: Path, images: np.ndarray, jobs: Sequence[Job]) -> None:
    """Write what the child reads, or make sure that an earlier run wrote the same.

    Raises:
        ConfigError: the folder is of a run over other images or codecs.
    """
    file, text = folder / "jobs.json", json.dumps([asdict(job) for job in jobs])
    if file.exists():
        same = np.array_equal(np.load(folder / "images.npz")["images"], images)
        if not same or file.read_text() != text:
            raise ConfigError(f"--folder {folder} holds other images or codecs: name a new one")
        return
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "images.npz", images=images)
    file.write_text(text)


def faults(jobs: Mapping[str, Mapping[str, int]]) -> int:
    """Images that are broken, refused or more than a level apart; a broken one counts once."""
    return sum(j["refused"] + max(j["broken"], j["apart"]) for j in jobs.values())


def parted(jobs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our jobs, and the peer's."""
    peer = {name: job for name, job in jobs.items() if name.endswith("-compressai")}
    return {name: job for name, job in jobs.items() if name not in peer}, peer


def table_of(results: Mapping[str, Any]) -> Table:
    """A row a setting."""
    table = Table("setting", "torch", "ATen", "images", "broken", "refused", "levels", "CompressAI")
    for name, result in results.items():
        if "skipped" in result:
            table.add_row(name, f"skipped: {result['skipped']}")
            continue
        ours, peer = parted(result["jobs"])
        sums = [sum(j[k] for j in ours.values()) for k in ("images", "broken", "refused")]
        levels = max(j["levels"] for j in ours.values())
        wrong = f"{faults(peer)} of {sum(j['images'] for j in peer.values())}"
        shown = (result["torch"], result["capability"], *map(str, sums), str(levels), wrong)
        table.add_row(name, *shown)
    return table


def main(
    domains: tuple[str, ...] = ("photos", "text", "charts"),
    max_images: int = 102,
    side: int = 128,
    lambdas: tuple[float, ...] = (),
    other_python: str | None = None,
    folder: Path | None = None,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Code everything once, decode it under every setting.

    Args:
        domains: Where images come from: bundled names, or NAME=PATH.
        max_images: Images in all, as many of each domain.
        side: Pixels of the squares that are cut from them.
        lambdas: Of the source codecs; all bundled ones if left out.
        other_python: An interpreter whose environment has another release of PyTorch, CompressAI and
            this project's other dependencies.
        folder: Where streams and each setting's result are kept; a run that was cut goes on there. By
            default a temporary folder.
        json_path: Where to keep every figure.
    """
    names, images = crops(domains, max_images, side)
    settings = list(SETTINGS)
    if other_python is not None:
        settings.append(Setting("other PyTorch", python=other_python))
    flags, results = cpu_flags(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = folder or Path(name)
        prepare(folder, images, jobs_of(lambdas))
        call(sys.executable, {}, "encode", folder)
        for setting in settings:
            if setting.needs and setting.needs not in flags:
                results[setting.name] = {"skipped": f"this processor has no {setting.needs}"}
            else:
                results[setting.name] = decode_under(setting, folder)
    if other_python is None:
        results["other PyTorch"] = {"skipped": "no --other-python"}
    Console(width=120).print(table_of(results))
    report(results, {n: names.count(n) for n in dict.fromkeys(names)}, json_path)


def report(results: Mapping[str, Any], images: Mapping[str, int], json_path: Path | None) -> None:
    """The figures, and the last line."""
    decoded = [parted(r["jobs"]) for r in results.values() if "jobs" in r]
    ours = sum(faults(jobs) for jobs, _ in decoded)
    total = sum(j["images"] for jobs, _ in decoded for j in jobs.values())
    peer = sum(faults(jobs) for _, jobs in decoded)
    of_peer = sum(j["images"] for _, jobs in decoded for j in jobs.values())
    print(f"interfero: {ours} of {total} decodes faulty; CompressAI: {peer} of {of_peer}")
    figures = {"settings": dict(results), "images": dict(images), "decodes": total}
    figures |= {"compressai_faulty": peer, "compressai_decodes": of_peer}
    finish("faulty_decodes", ours, "images", TARGET, TARGET.met(ours), figures, json_path)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
