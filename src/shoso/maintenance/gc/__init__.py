"""Garbage collection: what is deleted goes for good, by a plan that can be looked at.

chosen      what goes, and what stays; guard what others need
contents    what is at a location, summed up
planning    both, written down
applying    what is planned, and hasn't changed since, goes
owned       runs, models and experiments: artifacts first, then rows
litter      what has no row
account     what became of it all
trash       artifacts that were moved aside instead, brought back
"""
