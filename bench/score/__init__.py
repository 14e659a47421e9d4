"""Metrics and statistics over finished samples."""
