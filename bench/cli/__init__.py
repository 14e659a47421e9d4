"""The command line: names as a person types them, help, and what is said of a cell."""
