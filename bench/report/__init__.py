"""Tables from finished records. Imports no torch."""
