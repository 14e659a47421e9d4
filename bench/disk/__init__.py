"""What lies on disk: whole files, claims, records, seals; and which source code made it."""
