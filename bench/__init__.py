"""Lamplight: compare ways to personalize a language model on the LaMP benchmark."""

__version__ = "0.1.0"
