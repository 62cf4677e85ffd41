"""What runs are and what they measured, in MLflow's database schema.

`connect` opens a database and runs work on it · `schema` its tables · `rules` the limits of the API ·
`experiments`, `runs`, `metrics`, `datasets`, `models` repository functions, each taking a connection ·
`search` filter text to SQL.
"""
