"""What the window needs but cannot wait for: kitchens, partners and the recordings file, fetched beside the menu.

No pygame and, at import, nothing heavy: the kitchen's compiled rules are imported on a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from coord.errors import UserError
from play.game.worker import Spare

if TYPE_CHECKING:
    from play.game.catalogue import LayoutEntry, PartnerEntry
    from play.game.record import Store

Made = TypeVar("Made")


class Preloader:
    """Loads on a thread; `ready` once the lists are there. Nothing here blocks after `ready`."""

    def __init__(self, file: Path | None = None, folders: tuple[Path, ...] = (Path("runs"),), *, cooks: bool = True):
        self.file, self.folders = file, folders
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="preloader")
        self._lists: Future[tuple[list[LayoutEntry], list[PartnerEntry]]]
        self._warm: Future[None]
        self.spare = Spare()  # the process of the next partner, loading torch meanwhile
        if cooks:  # else nobody is going to play in this window
            self._lists = self._threads.submit(_fetch, folders)
            self._warm = self._threads.submit(_warm_up)
            self.spare.renew()
        self._store: Store | None = None
        self.problem = ""  # one line: why nothing can be recorded

    @property
    def ready(self) -> bool:
        """Whether the lists are there and the game can be started without waiting."""
        return self._lists.done() and self._warm.done()

    @property
    def layouts(self) -> list[LayoutEntry]:
        """Kitchens to play in; waits when asked before `ready`."""
        return self._lists.result()[0]

    @property
    def partners(self) -> list[PartnerEntry]:
        """Partners to play with; waits when asked before `ready`."""
        return self._lists.result()[1]

    def store(self, *, writes: bool = True) -> Store | None:
        """The recordings file, opened at the first call; None, with `problem` set, if it cannot be used for that."""
        if self._store is None and not self.problem:
            from play.game.record import Store

            try:
                self._store = Store(self.file, writes=False)
            except UserError as err:
                self.problem = str(err)
        if writes and self._store is not None and self._store.is_read_only:
            self.problem = f"cannot write {self._store.path}: the file or its folder is read-only"
            return None
        return self._store

    def retry(self) -> None:
        """Try to open the recordings file again at the next `store()`."""
        self.problem = ""

    def refresh(self) -> None:
        """Look for partners and kitchens again (something may have been trained meanwhile)."""
        self._lists = self._threads.submit(_fetch, self.folders)

    def submit(self, work: Callable[[], Made]) -> Future[Made]:
        """Do something slow beside the window."""
        return self._threads.submit(work)

    def close(self) -> None:
        """Close the file; a running import is left to end by itself."""
        if self._store is not None:
            self._store.close()
            self._store = None
        self.spare.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _fetch(folders: tuple[Path, ...]) -> tuple[list[LayoutEntry], list[PartnerEntry]]:
    from play.game import catalogue

    return catalogue.layouts(folders), catalogue.partners(folders)


def _warm_up() -> None:
    """Import the game and let numba load (or, the very first time, compile) what a tick needs."""
    import numpy as np

    import play.game.record
    import play.game.replay
    import play.game.session  # noqa: F401
    from coord.overcooked import OvercookedVectorEnv

    env = OvercookedVectorEnv("cramped_room", 1, horizon=2)
    for _ in range(2):
        env.step(np.full((1, 2), 4))
    env.state_dict(0)
