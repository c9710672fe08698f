"""Evaluates terms on signals, and deals with memory, devices and platforms."""
