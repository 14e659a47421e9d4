"""One cell: what is asked, who takes part, the work itself, its scores and its record."""
