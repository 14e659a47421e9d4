"""Many cells: what an experiment consists of, what is left to run,
and the processes that run it.
"""
