"""The tables Shoso reads and writes: MLflow's schema at revision dc11669786a5, so that either opens it.

Names, types, nullability, keys and indexes are MLflow 3.17's; tests compare them with a database MLflow made.
`mlflow_tables` and `mlflow_services` hold the tables that are there for MLflow alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shoso.metadata.dialects.types import MEDIUM_TEXT, MEDIUM_TEXT_OR_NVARCHAR

WORKSPACE = "default"
"""The one workspace Shoso serves; MLflow puts everything there unless workspaces are switched on."""

SCHEMA = MetaData()

DOUBLE = Float(precision=53)
FLAG = Boolean(create_constraint=True)


def workspace() -> Column[str]:
    """The column that says which workspace a row belongs to."""
    return Column("workspace", String(63), nullable=False, server_default=WORKSPACE)


def primary(name: str, columns: str) -> PrimaryKeyConstraint:
    """A named primary key; like everywhere here, column names are separated by spaces."""
    return PrimaryKeyConstraint(*columns.split(), name=name)


def unique(name: str, columns: str) -> UniqueConstraint:
    """A named unique constraint."""
    return UniqueConstraint(*columns.split(), name=name)


def index(name: str, columns: str, **options: Any) -> Index:
    """A named index."""
    return Index(name, *columns.split(), **options)


def foreign(columns: str, table: str, referred: str | None = None, **options: Any) -> ForeignKeyConstraint:
    """A foreign key; the columns have the same names over there unless `referred` says so."""
    there = [f"{table}.{column}" for column in (referred or columns).split()]
    return ForeignKeyConstraint(columns.split(), there, **options)


experiments = Table(
    "experiments",
    SCHEMA,
    Column("experiment_id", Integer),
    Column("name", String(256), nullable=False),
    Column("artifact_location", String(256)),
    Column("lifecycle_stage", String(32)),
    Column("creation_time", BigInteger),
    Column("last_update_time", BigInteger),
    workspace(),
    primary("experiment_pk", "experiment_id"),
    unique("uq_experiments_workspace_name", "workspace name"),
    CheckConstraint("lifecycle_stage IN ('active', 'deleted')", name="experiments_lifecycle_stage"),
    index("idx_experiments_workspace", "workspace"),
    index("idx_experiments_workspace_creation_time", "workspace creation_time"),
)

experiment_tags = Table(
    "experiment_tags",
    SCHEMA,
    Column("key", String(250)),
    Column("value", MEDIUM_TEXT_OR_NVARCHAR),
    Column("experiment_id", Integer),
    primary("experiment_tag_pk", "key experiment_id"),
    foreign("experiment_id", "experiments"),
)

runs = Table(
    "runs",
    SCHEMA,
    Column("run_uuid", String(32)),
    Column("name", String(250)),
    Column("source_type", String(20)),
    Column("source_name", String(500)),
    Column("entry_point_name", String(50)),
    Column("user_id", String(256)),
    Column("status", String(9)),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("source_version", String(50)),
    Column("lifecycle_stage", String(20)),
    Column("artifact_uri", String(200)),
    Column("experiment_id", Integer),
    Column("deleted_time", BigInteger),
    primary("run_pk", "run_uuid"),
    CheckConstraint("lifecycle_stage IN ('active', 'deleted')", name="runs_lifecycle_stage"),
    CheckConstraint("source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')", name="source_type"),
    CheckConstraint("status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED')"),
    foreign("experiment_id", "experiments"),
)

tags = Table(
    "tags",
    SCHEMA,
    Column("key", String(250)),
    Column("value", String(8000)),
    Column("run_uuid", String(32)),
    primary("tag_pk", "key run_uuid"),
    foreign("run_uuid", "runs"),
    index("index_tags_run_uuid", "run_uuid"),
)

params = Table(
    "params",
    SCHEMA,
    Column("key", String(250)),
    Column("value", String(8000), nullable=False),
    Column("run_uuid", String(32)),
    primary("param_pk", "key run_uuid"),
    foreign("run_uuid", "runs"),
    index("index_params_run_uuid", "run_uuid"),
)

metrics = Table(
    "metrics",
    SCHEMA,
    Column("key", String(250)),
    Column("value", DOUBLE),
    Column("timestamp", BigInteger),
    Column("run_uuid", String(32)),
    Column("step", BigInteger, server_default="0"),
    Column("is_nan", FLAG, server_default="0"),
    primary("metric_pk", "key timestamp step run_uuid value is_nan"),
    foreign("run_uuid", "runs"),
    index("index_metrics_run_uuid", "run_uuid"),
    index("index_metrics_run_uuid_key_step", "run_uuid key step"),
)

latest_metrics = Table(
    "latest_metrics",
    SCHEMA,
    Column("key", String(250)),
    Column("value", DOUBLE, nullable=False),
    Column("timestamp", BigInteger),
    Column("step", BigInteger, nullable=False),
    Column("is_nan", FLAG, nullable=False),
    Column("run_uuid", String(32)),
    primary("latest_metric_pk", "key run_uuid"),
    foreign("run_uuid", "runs"),
    index("index_latest_metrics_run_uuid", "run_uuid"),
)

datasets = Table(
    "datasets",
    SCHEMA,
    Column("dataset_uuid", String(36), nullable=False),
    Column("experiment_id", Integer),
    Column("name", String(500)),
    Column("digest", String(36)),
    Column("dataset_source_type", String(36), nullable=False),
    Column("dataset_source", Text, nullable=False),
    Column("dataset_schema", MEDIUM_TEXT),
    Column("dataset_profile", MEDIUM_TEXT),
    primary("dataset_pk", "experiment_id name digest"),
    foreign("experiment_id", "experiments", name="fk_datasets_experiment_id_experiments", ondelete="CASCADE"),
    index("index_datasets_dataset_uuid", "dataset_uuid"),
    index("index_datasets_experiment_id_dataset_source_type", "experiment_id dataset_source_type"),
)

inputs = Table(
    "inputs",
    SCHEMA,
    Column("input_uuid", String(36), nullable=False),
    Column("source_type", String(36)),
    Column("source_id", String(36)),
    Column("destination_type", String(36)),
    Column("destination_id", String(36)),
    Column("step", BigInteger, nullable=False, server_default="0"),
    primary("inputs_pk", "source_type source_id destination_type destination_id"),
    index(
        "index_inputs_destination_type_destination_id_source_type",
        "destination_type destination_id source_type",
    ),
    index("index_inputs_input_uuid", "input_uuid"),
)

input_tags = Table(
    "input_tags",
    SCHEMA,
    Column("input_uuid", String(36)),
    Column("name", String(255)),
    Column("value", String(500), nullable=False),
    primary("input_tags_pk", "input_uuid name"),
)

logged_models = Table(
    "logged_models",
    SCHEMA,
    Column("model_id", String(36)),
    Column("experiment_id", Integer, nullable=False),
    Column("name", String(500), nullable=False),
    Column("artifact_location", String(1000), nullable=False),
    Column("creation_timestamp_ms", BigInteger, nullable=False),
    Column("last_updated_timestamp_ms", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("lifecycle_stage", String(32)),
    Column("model_type", String(500)),
    Column("source_run_id", String(32)),
    Column("status_message", String(1000)),
    primary("logged_models_pk", "model_id"),
    CheckConstraint("lifecycle_stage IN ('active', 'deleted')", name="logged_models_lifecycle_stage_check"),
    foreign("experiment_id", "experiments", name="fk_logged_models_experiment_id", ondelete="CASCADE"),
)

logged_model_metrics = Table(
    "logged_model_metrics",
    SCHEMA,
    Column("model_id", String(36)),
    Column("metric_name", String(500)),
    Column("metric_timestamp_ms", BigInteger),
    Column("metric_step", BigInteger),
    Column("metric_value", DOUBLE),
    Column("experiment_id", Integer, nullable=False),
    Column("run_id", String(32)),
    Column("dataset_uuid", String(36)),
    Column("dataset_name", String(500)),
    Column("dataset_digest", String(36)),
    primary("logged_model_metrics_pk", "model_id metric_name metric_timestamp_ms metric_step run_id"),
    foreign("experiment_id", "experiments", name="fk_logged_model_metrics_experiment_id"),
    foreign("model_id", "logged_models", name="fk_logged_model_metrics_model_id", ondelete="CASCADE"),
    foreign("run_id", "runs", "run_uuid", name="fk_logged_model_metrics_run_id", ondelete="CASCADE"),
    index("index_logged_model_metrics_model_id", "model_id"),
)

logged_model_params = Table(
    "logged_model_params",
    SCHEMA,
    Column("model_id", String(36)),
    Column("experiment_id", Integer, nullable=False),
    Column("param_key", String(255)),
    Column("param_value", Text, nullable=False),
    primary("logged_model_params_pk", "model_id param_key"),
    foreign("experiment_id", "experiments", name="fk_logged_model_params_experiment_id"),
    foreign("model_id", "logged_models", name="fk_logged_model_params_model_id", ondelete="CASCADE"),
)

logged_model_tags = Table(
    "logged_model_tags",
    SCHEMA,
    Column("model_id", String(36)),
    Column("experiment_id", Integer, nullable=False),
    Column("tag_key", String(255)),
    Column("tag_value", Text, nullable=False),
    primary("logged_model_tags_pk", "model_id tag_key"),
    foreign("experiment_id", "experiments", name="fk_logged_model_tags_experiment_id"),
    foreign("model_id", "logged_models", name="fk_logged_model_tags_model_id", ondelete="CASCADE"),
)

registered_models = Table(
    "registered_models",
    SCHEMA,
    Column("name", String(256)),
    Column("creation_time", BigInteger),
    Column("last_updated_time", BigInteger),
    Column("description", String(5000)),
    workspace(),
    primary("registered_model_pk", "workspace name"),
    index("idx_registered_models_workspace", "workspace"),
)

registered_model_tags = Table(
    "registered_model_tags",
    SCHEMA,
    Column("key", String(250)),
    Column("value", String(5000)),
    Column("name", String(256)),
    workspace(),
    primary("registered_model_tag_pk", "workspace key name"),
    foreign(
        "workspace name",
        "registered_models",
        name="fk_registered_model_tags_registered_models",
        onupdate="CASCADE",
    ),
    index("idx_registered_model_tags_workspace_name", "workspace name"),
)

registered_model_aliases = Table(
    "registered_model_aliases",
    SCHEMA,
    Column("alias", String(256)),
    Column("version", Integer, nullable=False),
    Column("name", String(256)),
    workspace(),
    primary("registered_model_alias_pk", "workspace name alias"),
    foreign(
        "workspace name",
        "registered_models",
        name="fk_registered_model_aliases_registered_models",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)

DELETED_VERSION = "Deleted_Internal"
"""The stage of a version that is deleted; its row stays, so that its number is never given out again."""

model_versions = Table(
    "model_versions",
    SCHEMA,
    Column("name", String(256)),
    Column("version", Integer),
    Column("creation_time", BigInteger),
    Column("last_updated_time", BigInteger),
    Column("description", String(5000)),
    Column("user_id", String(256)),
    Column("current_stage", String(20)),
    Column("source", String(500)),
    Column("run_id", String(32)),
    Column("status", String(20)),
    Column("status_message", String(500)),
    Column("run_link", String(500)),
    Column("storage_location", String(500)),
    workspace(),
    primary("model_version_pk", "workspace name version"),
    foreign(
        "workspace name", "registered_models", name="fk_model_versions_registered_models", onupdate="CASCADE"
    ),
)

model_version_tags = Table(
    "model_version_tags",
    SCHEMA,
    Column("key", String(250)),
    Column("value", Text),
    Column("name", String(256)),
    Column("version", Integer),
    workspace(),
    primary("model_version_tag_pk", "workspace key name version"),
    foreign(
        "workspace name version",
        "model_versions",
        name="fk_model_version_tags_model_versions",
        onupdate="CASCADE",
    ),
    index("idx_model_version_tags_workspace_name_version", "workspace name version"),
)

workspaces = Table(
    "workspaces",
    SCHEMA,
    Column("name", String(63)),
    Column("description", Text),
    Column("default_artifact_root", Text),
    Column("trace_archival_location", Text),
    Column("trace_archival_retention", String(32)),
    primary("workspaces_pk", "name"),
)

alembic_version = Table(
    "alembic_version",
    SCHEMA,
    Column("version_num", String(32)),
    primary("alembic_version_pkc", "version_num"),
)

USED = tuple(table for table in SCHEMA.sorted_tables if table not in (workspaces, alembic_version))
"""The tables that requests read and write."""
