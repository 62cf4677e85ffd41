"""MLflow's whole schema, with the tables that are there for MLflow alone, loaded when somebody asks for it.

Making them in memory takes longer than anything else that a command does to open a database, and few need
more than their names.
"""

from __future__ import annotations

from sqlalchemy import MetaData

from shoso.metadata.schema import SCHEMA

FOR_MLFLOW = frozenset(
    [
        "assessments",
        "budget_policies",
        "endpoint_bindings",
        "endpoint_model_mappings",
        "endpoint_tags",
        "endpoints",
        "entity_associations",
        "evaluation_dataset_records",
        "evaluation_dataset_tags",
        "evaluation_datasets",
        "guardrail_configs",
        "guardrails",
        "issues",
        "job_locks",
        "jobs",
        "label_schemas",
        "mcp_access_endpoints",
        "mcp_server_aliases",
        "mcp_server_tags",
        "mcp_server_version_tags",
        "mcp_server_versions",
        "mcp_servers",
        "model_definitions",
        "online_scoring_configs",
        "review_queue_items",
        "review_queue_label_schemas",
        "review_queue_users",
        "review_queues",
        "scheduler_leases",
        "scorer_versions",
        "scorers",
        "secrets",
        "span_metrics",
        "spans",
        "sql_assessment_daily_rollups",
        "sql_span_cost_daily_rollups",
        "sql_trace_metric_daily_rollups",
        "sql_trace_rollup_rebuild_queue",
        "trace_info",
        "trace_metrics",
        "trace_request_metadata",
        "trace_tags",
        "webhook_events",
        "webhooks",
    ]
)
"""The names of the tables that Shoso creates, and nothing of ours reads."""


def whole() -> MetaData:
    """SCHEMA with all of MLflow's tables in it."""
    from shoso.metadata import mlflow_services, mlflow_tables  # noqa: F401 - their tables are in SCHEMA then

    return SCHEMA
