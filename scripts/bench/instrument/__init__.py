"""The parts of the benchmark: what is installed, the peers, their upstreams, the load, the machine, the table."""
