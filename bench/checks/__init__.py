"""Values from outside: what a setting or a record may be.

Imports nothing of the product but its errors.
"""
