"""What reaches a user: escaped text, progress, broken pipes,
the silence of libraries, a clean stop.
"""
