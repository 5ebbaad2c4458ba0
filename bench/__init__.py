"""Benchmarks. Each figure stands beside a peer or a ceiling measured in the same run."""
