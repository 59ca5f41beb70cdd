"""Run, check and time bundles on devices."""
