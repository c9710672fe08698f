"""Evaluating terms on signals: the only place that knows memory, devices, platforms."""
