"""What work costs: phases with a clock, tokens and memory, on disk with what they paid for."""
