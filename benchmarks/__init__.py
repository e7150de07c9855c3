"""Benchmarks of tsmae: one command per table or figure, see ``benchmarks/README.md``."""
