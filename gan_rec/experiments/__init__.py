"""Experiments: settings with defaults that work, one model's fit, whole runs in a directory."""
