"""The published methods, one file each: those that make pools of partners and those that train egos."""
