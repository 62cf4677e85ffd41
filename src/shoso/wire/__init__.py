"""MLflow's request and reply shapes, and the table of errors: pure, no I/O.

`entities` the nouns · `requests` and `replies` the calls · `decode` bytes to requests · `faults` errors.
"""
