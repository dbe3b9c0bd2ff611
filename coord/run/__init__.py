"""Commands, configuration, logging and progress of a run."""

from coord import places

places.replace_foreign_parent()  # before anything is read from `coord` itself
