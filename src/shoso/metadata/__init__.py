"""What runs are and what they measured, in MLflow's database schema.

connect       opens a database and runs work on it; commit writes in groups, dialects know the databases
compatibility whether a database is one to work on (see revisions); tables makes what isn't there
schema        its tables; mlflow_tables and mlflow_services those that are there for MLflow alone
              (whole has all of them), own Shoso's
workspace     which rows are served: those of others are in the same tables
indexes       indexes of ours on MLflow's tables, made when they are asked for
rules, registry_rules
              the limits of the API; lifecycle what may be written to
experiments, runs, metrics, datasets, models, objects
              repository functions: each takes a connection and is one whole piece of work
holdings     what has artifacts, page by page; claims on what is being deleted, purge of its rows
references   what the database refers to, for checks; retention what policies ask, and how they mark
moves        experiments on their way to another storage; relocating rewrites their rows, copied has what
             was the same at both places
imports, import_models
              what another store held, kept as it was there; intake takes it a request at a time
registry, versions, aliases
              the same for the model registry: entries has what they read, sources what a version is made from
search, search_models, search_registry
              filter text → expression (filters, searchable) → SQL (clauses), page by page (paging)
"""
