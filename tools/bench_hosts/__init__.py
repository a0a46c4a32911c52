"""The sections of `tools/bench.py` that need an etcd, or more than one host."""
