"""YAML configurations; a package so that they are found in an installed copy too."""
