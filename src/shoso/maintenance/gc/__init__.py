"""Garbage collection: what is deleted goes for good, by a plan that can be looked at.

chosen      what goes, and what stays
contents    what is at a location, summed up
planning    both, written down
applying    what is planned, and hasn't changed since, goes: artifacts first, then rows
trash       artifacts moved aside instead, and brought back
"""
