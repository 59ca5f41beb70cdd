"""Schedules of operations whose dimensions are known only when the model runs."""
