"""Take a cell's patches out of the harness as PEFT adapter folders (`python -m bench.export`)."""
