"""The placement problem: its arrays, its solvers, and the verifier that shares nothing with them."""
