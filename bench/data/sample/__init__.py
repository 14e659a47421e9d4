"""The embedded sample: LaMP-like data with planted preferences, written by a seeded generator."""
