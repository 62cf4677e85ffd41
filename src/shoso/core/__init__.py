"""The vocabulary of storage: keys, values, streams and the contract every store keeps. No I/O.

`keys` names · `types` values · `streams` bytes on the move · `digest` their identity · `store` the contract.
"""
