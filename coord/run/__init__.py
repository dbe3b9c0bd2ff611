"""Commands, configuration, logging and progress of a run."""
