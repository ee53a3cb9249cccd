"""The tests; a package, as NeuroKit2 installs another of this name."""
