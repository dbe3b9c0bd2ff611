"""The command `coord`: finds the command, prints help, turns errors into one line and an exit code.

Exit codes: 0 done, 2 bad input (also an unwritable folder, a full disk or too little memory), 3 diverged, 70 a fault of
our own (one line, which names the file that holds the trace), 130 interrupted.
A command is a module that an entry point of the group `coord.commands` names, with `HELP` (one line), `EXAMPLES`
(copy-paste lines), `Config` (its frozen dataclass, or the text "module:Class") and `run(overrides) -> int`. It imports
what it needs inside `run`, so that help stays instant.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from types import ModuleType

from coord import __version__, compile_cache, places, plugins
from coord.errors import Diverged, UserError, one_line, unknown
from coord.run import terminal

COMMANDS = "coord.commands"  # the group of entry points
FLAGS = {  # as they may be written -> their name
    "--cfg": "--cfg", "-c": "--cfg", "--config-dir": "--config-dir", "-cd": "--config-dir", "--multirun": "--multirun",
    "-m": "--multirun",
}  # fmt: skip
SUMMARY = "train partners for Overcooked, train an ego with them, score it with people-like partners"
EXIT_CODES = "exit codes: 0 done, 2 bad input, 3 diverged, 70 our fault, 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of the console script."""
    argv = list(sys.argv[1:] if argv is None else argv)
    places.put_first()
    with terminal.prepared_streams():
        try:
            _check_text(argv)
            code = dispatch(argv)
            sys.stdout.flush()  # here, so that a full disk below it is noticed where it is expected
            return code
        except KeyboardInterrupt:
            return _fail("interrupted", 130)
        except Exception as error:
            return _fail(*_explained(error))


def _check_text(argv: Sequence[str]) -> None:
    """Refuse words that are no text: no file of ours could hold them."""
    for word in argv:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UserError(f"'{terminal.one_line(ascii(word)[1:-1])}' is not UTF-8 text")


def _explained(error: Exception) -> tuple[str, int]:
    """One line and an exit code for whatever ended a command."""
    if isinstance(error, UserError):
        return str(error), 2
    if isinstance(error, Diverged):
        return str(error), 3
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # the latter is PyTorch's
        return f"out of memory: {str(error) or 'this machine cannot hold it'}", 2
    if isinstance(error, OSError) and error.strerror:  # full disks, forbidden, deleted or impossible files
        return f"{error.strerror}: {error.filename or 'while reading or writing'}", 2
    return terminal.report_fault(error), 70


def dispatch(argv: Sequence[str]) -> int:
    """Run `argv` without catching anything but an orderly interruption."""
    from coord.run.interrupt import Interrupted

    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(f"coord {__version__}")
        return 0
    command, *rest = argv
    module = command_module(command)
    if any(word in ("-h", "--help") for word in rest):
        print(command_help(command, [word for word in rest if word not in ("-h", "--help")]))
        return 0
    compile_cache.ensure()
    try:
        return _run(command, module, *hydra_flags(rest))
    except Interrupted as stopped:
        with suppress(OSError):  # the terminal may be gone, which is why it stopped
            print(f"interrupted and saved; continue with: {stopped}", file=sys.stderr, flush=True)
        return 130


def _run(command: str, module: ModuleType, words: Sequence[str], flags: Mapping[str, str]) -> int:
    """Run a command, or do with it what a flag of Hydra's asks for."""
    from coord.run import config, config_files

    with config_files.added(flags["--config-dir"]) if "--config-dir" in flags else nullcontext():
        if "--cfg" in flags:
            if flags["--cfg"] != "job":
                raise unknown("kind of configuration (--cfg)", flags["--cfg"], ("job",))
            print(config.to_yaml(config.resolved(module.run, words)), end="")
            return 0
        if "--multirun" in flags:
            return plugins.find("coord.sweepers", "folders", "sweeper")(command, words)
        return module.run(words)


def hydra_flags(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words of a command, and the flags among them that Hydra's users know, with their values.

    Raises:
        UserError: a flag without its value.
    """
    rest, flags, waiting = [], {}, list(words)
    while waiting:
        if waiting[0] == "--allow-code":  # as it is known from elsewhere; a field like any other
            waiting[0] = "allow_code=true"
        name, mark, value = waiting[0].partition("=")
        flag = FLAGS.get(name)
        if flag is None:
            rest.append(waiting.pop(0))
            continue
        waiting.pop(0)
        if flag != "--multirun" and not mark:
            if not waiting:
                raise UserError(
                    f"{flag} needs a value, for example {flag} {'job' if flag == '--cfg' else 'my-configs'}"
                )
            value = waiting.pop(0)
        flags[flag] = value
    return rest, flags


def command_module(name: str) -> ModuleType:
    """The module of a command.

    Raises:
        UserError: there is no such command, or it cannot be imported.
    """
    return plugins.find(COMMANDS, name, "command")


def overview() -> str:
    """What `coord --help` prints."""
    rows = [f"  {name:<12}{_help_line(name)}" for name in plugins.entries(COMMANDS)]
    return "\n".join(
        [
            f"coord {__version__}: {SUMMARY}",
            "",
            "usage: coord <command> [name=value ...] [--cfg job] [--config-dir <folder>] [-m seed=1,2,3]",
            "",
            *rows,
            "",
            "coord <command> --help  shows examples and every field",
            EXIT_CODES,
        ]
    )


def _help_line(name: str) -> str:
    """The one line of a command; what is wrong with it where another package's cannot be loaded."""
    try:
        return command_module(name).HELP
    except UserError as error:
        return f"({terminal.one_line(str(error))})"


def command_help(name: str, overrides: Sequence[str] = ()) -> str:
    """What `coord <name> --help` prints: examples, then every field with default and meaning.

    Choices in `overrides` (`algo=bc`) show the fields of that choice.
    """
    module = command_module(name)
    lines = [f"coord {name}: {module.HELP}", "", "examples:", *(f"  {line}" for line in module.EXAMPLES)]
    return "\n".join([*lines, *_field_lines(name, overrides), "", EXIT_CODES])


def _field_lines(command: str, overrides: Sequence[str]) -> list[str]:
    """Sections of help: the command's own fields, then those of each choice it makes."""
    from coord.run import config
    from coord.run.fields import fields_of, fields_of_choice

    cls = config.config_class(command)
    sections = [("fields (name = default):", "", fields_of(cls))]
    for group, offered in plugins.choices_of(cls).items():
        asked = [word.partition("=")[2] for word in overrides if word.startswith(f"{group}=")]
        name = asked[-1] if asked else offered.default
        if name not in offered.names():
            raise unknown(group, name, offered.names())
        others = ", ".join(f"{group}={one}" for one in offered.names())
        title = f"fields of {group}={name} (choices: {others}):"
        sections.append((title, f"{group}.", fields_of_choice(offered, name, group)))
    lines = []
    for title, prefix, fields in sections:
        rows = [(f"{prefix}{field.name} = {field.shown}", field.explained) for field in fields]
        width = min(max((len(left) for left, _ in rows), default=0), 44)
        lines += ["", title, *(f"  {left:<{width}}  {meaning}" for left, meaning in rows)]
    return lines


def _fail(text: str, code: int) -> int:
    with suppress(OSError):
        print(f"error: {text if code == 70 else one_line(text)}", file=sys.stderr, flush=True)
    return code
