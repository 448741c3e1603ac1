"""What `interfero report` is asked for, and what of it can be refused before libraries are imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.part import parsed
from interfero.cli.options import table_of
from interfero.errors import ConfigError
from interfero.tracking.database_file import check_experiment


@dataclass(frozen=True)
class Wanted:
    """What a user asks for."""

    experiment: str | None = None
    sweeps: tuple[str, ...] = ()
    cells: tuple[Path, ...] = ()
    out: Path | None = None
    where: tuple[str, ...] = ()
    """Conditions that cells have to meet, as `interfero.analysis.part` reads them."""

    def check(self) -> None:
        """Refuse what is unclear, and what does not exist as far as files of this machine say.

        Raises:
            ConfigError: the question is unclear, or there is no such experiment.
            StorageError: there is no such table.
            TrackingError: there is no tracking database.
        """
        if (self.experiment is None) == (not self.cells):
            raise ConfigError("give either --experiment NAME or --cells FILE")
        if self.sweeps and self.experiment is None:
            raise ConfigError("--sweep chooses among the sweeps of an --experiment: name that too")
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"--out {self.out} is a file, and a report is a folder: name another")
        for path in self.cells:
            table_of(path)
        for condition in self.where:
            parsed(condition)
        if self.experiment is not None:
            check_experiment(self.experiment)
