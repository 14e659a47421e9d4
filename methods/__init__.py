"""The methods that the harness compares: one file each, none imports another."""
