"""The folder of one run: where it lies and what says how it came about.

runs/<task>/<layout>/<algo>/<date>-<short hash>/seed<k>/     or the folder given as out=
    config.yaml  command.txt  env.json     what was asked for, how, with which code and libraries
    inputs.json  .lock                     what was read, by hash (see inputs.py); who writes here now
    ckpt/  tb/  metrics.jsonl              checkpoints, TensorBoard, metrics
    report.html                            written by `coord report`
"""

from __future__ import annotations

import datetime
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from coord import checkpoint
from coord.errors import UserError
from coord.files import atomic_write_json, atomic_write_text, check_folder, parse_json, read_text, reading_kept
from coord.locks import locked_folder
from coord.run import config as configs
from coord.run import inputs
from coord.run.inputs import Inputs
from coord.threads import usable_cores


def run_folder(
    config: Any, *, algo: str, layout: str, seed: int, task: str = "overcooked", out: str | None = None
) -> Path:
    """The folder for a run: `out` if given, else named by what is run, today's date and the config's hash.

    A layout given as a path counts by its file name, a grid as "custom".
    """
    if out:
        return Path(out)
    layout = "custom" if "\n" in layout else re.sub(r"[^\w.-]", "_", Path(layout).stem)
    stamp = f"{datetime.date.today().isoformat()}-{configs.fingerprint(config)}"
    return Path("runs") / task / layout / algo / stamp / f"seed{seed}"


def create(folder: str | Path, config: Any, read: Inputs | None = None) -> Path:
    """Make a run folder with config.yaml, command.txt, env.json and inputs.json, and return it.

    read: what the run is made from besides its configuration, see `coord.run.inputs`.

    Raises:
        UserError: it already holds a run, or it cannot be written.
    """
    folder = Path(folder)
    _refuse_another_run(folder)
    atomic_write_text(folder / "command.txt", shlex.join(["coord", *sys.argv[1:]]) + "\n")
    threads = {"threads": config.threads} if hasattr(config, "threads") else {}
    atomic_write_json(folder / "env.json", environment() | threads)
    inputs.keep(folder, config, read or {})
    # Last, because its presence says that the folder is complete.
    atomic_write_text(folder / "config.yaml", configs.to_yaml(config))
    return folder


def _refuse_another_run(folder: Path) -> None:
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} already holds a run; go on with resume={folder} or choose another out=")


def check_out(config: Any) -> None:
    """Say at once, before anything is read or built, what would hinder `open_run` from writing where it is told to.

    Raises:
        UserError: the folder holds a run, cannot be written, or there is no room.
    """
    if config.resume:
        check_folder(config.resume)
    elif config.out:
        _refuse_another_run(Path(config.out))
        check_folder(config.out)


@contextmanager
def open_run(
    config: Any, *, algo: str, layout: str, task: str = "overcooked", read: Inputs | None = None
) -> Iterator[Path]:
    """The folder of a run, new or to be resumed (`config.resume`), with the only process that may write into it.

    Args: as `run_folder` and `create`.

    Raises:
        UserError: a new run is asked for in a folder that holds one; a resumed one was made from other inputs; another
            process writes there; the folder cannot be written.
    """
    if config.resume:
        folder = Path(config.resume)
        with locked_folder(folder):
            inputs.compare(folder, config, read or {})
            has_others = _note_threads(folder, config)
            if has_others or any(hasattr(config, name) for name in configs.MENDABLE):
                kept = replace(config, resume=None, change_threads=False)
                atomic_write_text(folder / "config.yaml", configs.to_yaml(kept))
            yield folder
        return
    folder = run_folder(config, algo=algo, layout=layout, task=task, seed=config.seed, out=config.out)
    check_folder(folder)
    with locked_folder(folder):
        yield create(folder, config, read)


def _note_threads(folder: Path, config: Any) -> bool:
    """Whether a run goes on with another number of threads: then env.json keeps those before it, `threads_before`."""
    before, cores = configs.saved_values(folder / "config.yaml").get("threads", 0), usable_cores()
    _compare_threads(folder, before, config)
    if before == config.threads:
        if before != cores:
            print(f"{folder} goes on with threads={before}, as it began (usable cores here: {cores})")
        return False
    with reading_kept(folder / "env.json", "threads= cannot change here, leave it out"):
        environ = dict(parse_json(read_text(folder / "env.json")))
        environ |= {"threads": config.threads, "threads_before": [*environ.get("threads_before", []), before]}
    atomic_write_json(folder / "env.json", environ)
    print(f"{folder} goes on with threads={config.threads} instead of {before or 'a number not recorded'}")
    return True


def _compare_threads(folder: Path, written: int, config: Any) -> None:
    """Refuse a number of threads that somebody wrote into config.yaml: it takes `change_threads=true`."""
    path = folder / "env.json"
    if config.change_threads or not path.exists():
        return
    with reading_kept(path, "put it back, or start another run"):
        begun = dict(parse_json(read_text(path))).get("threads")
    if begun and written != begun:
        raise UserError(
            f"{folder / 'config.yaml'} was changed: threads={written}, but the run began with {begun}; put that "
            f"back, or say threads={written} change_threads=true"
        )


def environment() -> dict[str, Any]:
    """What a result may depend on besides the configuration: code, libraries, machine."""
    return {
        "git": checkpoint.git_version(),
        "libraries": checkpoint.library_versions(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_count": usable_cores(),
        "device": "cpu",
    }


def _cpu_model() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.machine()
