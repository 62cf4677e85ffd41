"""Tables that Shoso creates for MLflow alone: gateway, jobs, MCP registry, webhooks; see `mlflow_tables`."""

from __future__ import annotations

from sqlalchemy import Index, text

from shoso.metadata.mlflow_tables import table
from shoso.metadata.schema import foreign, index, primary, unique

_NEWEST_FIRST = [text(f"version_{part} DESC") for part in ("major", "minor", "patch")]

table(
    "secrets",
    "secret_id:36! secret_name:255! encrypted_value:blob! wrapped_dek:blob! kek_version:int! "
    "masked_value:500! provider:64 auth_config:text description:text created_by:255 created_at:big! "
    "last_updated_by:255 last_updated_at:big! workspace",
    primary("secrets_pk", "secret_id"),
    unique("uq_secrets_workspace_secret_name", "workspace secret_name"),
    index("idx_secrets_workspace", "workspace"),
)
table(
    "endpoints",
    "endpoint_id:36! name:255 created_by:255 created_at:big! last_updated_by:255 "
    "last_updated_at:big! routing_strategy:64 fallback_config_json:text experiment_id:int "
    "usage_tracking:bool!=0 workspace",
    primary("endpoints_pk", "endpoint_id"),
    unique("uq_endpoints_workspace_name", "workspace name"),
    foreign("experiment_id", "experiments", name="fk_endpoints_experiment_id", ondelete="SET NULL"),
    index("idx_endpoints_workspace", "workspace"),
)
table(
    "endpoint_bindings",
    "endpoint_id:36! resource_type:50! resource_id:255! created_at:big! created_by:255 "
    "last_updated_at:big! last_updated_by:255 display_name:255",
    primary("endpoint_bindings_pk", "endpoint_id resource_type resource_id"),
    foreign("endpoint_id", "endpoints", name="fk_endpoint_bindings_endpoint_id", ondelete="CASCADE"),
)
table(
    "endpoint_tags",
    "key:250! value:5000 endpoint_id:36!",
    primary("endpoint_tag_pk", "key endpoint_id"),
    foreign("endpoint_id", "endpoints", name="fk_endpoint_tags_endpoint_id", ondelete="CASCADE"),
    index("index_endpoint_tags_endpoint_id", "endpoint_id"),
)
table(
    "model_definitions",
    "model_definition_id:36! name:255! secret_id:36 provider:64! model_name:256! created_by:255 "
    "created_at:big! last_updated_by:255 last_updated_at:big! workspace",
    primary("model_definitions_pk", "model_definition_id"),
    unique("uq_model_definitions_workspace_name", "workspace name"),
    foreign("secret_id", "secrets", name="fk_model_definitions_secret_id", ondelete="SET NULL"),
    index("idx_model_definitions_workspace", "workspace"),
    index("index_model_definitions_provider", "provider"),
    index("index_model_definitions_secret_id", "secret_id"),
)
table(
    "endpoint_model_mappings",
    "mapping_id:36! endpoint_id:36! model_definition_id:36! weight:float! created_by:255 "
    "created_at:big! linkage_type:64!=PRIMARY fallback_order:int",
    primary("endpoint_model_mappings_pk", "mapping_id"),
    foreign("endpoint_id", "endpoints", name="fk_endpoint_model_mappings_endpoint_id", ondelete="CASCADE"),
    foreign(
        "model_definition_id", "model_definitions", name="fk_endpoint_model_mappings_model_definition_id"
    ),
    index("index_endpoint_model_mappings_endpoint_id", "endpoint_id"),
    index("index_endpoint_model_mappings_model_definition_id", "model_definition_id"),
    index(
        "unique_endpoint_model_linkage_mapping", "endpoint_id model_definition_id linkage_type", unique=True
    ),
)
table(
    "guardrails",
    "guardrail_id:36! name:255! scorer_id:36! scorer_version:int! stage:32! action:32! "
    "action_endpoint_id:36 created_by:255 created_at:big! last_updated_by:255 last_updated_at:big! "
    "workspace",
    primary("guardrails_pk", "guardrail_id"),
    foreign("scorer_id scorer_version", "scorer_versions", name="fk_guardrails_scorer_version"),
    foreign(
        "action_endpoint_id",
        "endpoints",
        "endpoint_id",
        name="fk_guardrails_action_endpoint_id",
        ondelete="SET NULL",
    ),
    index("idx_guardrails_scorer", "scorer_id scorer_version"),
    index("idx_guardrails_workspace", "workspace"),
)
table(
    "guardrail_configs",
    "endpoint_id:36! guardrail_id:36! execution_order:int created_by:255 created_at:big! workspace",
    primary("guardrail_configs_pk", "endpoint_id guardrail_id"),
    foreign("endpoint_id", "endpoints", name="fk_guardrail_configs_endpoint_id", ondelete="CASCADE"),
    foreign("guardrail_id", "guardrails", name="fk_guardrail_configs_guardrail_id", ondelete="CASCADE"),
    index("idx_guardrail_configs_endpoint_id", "endpoint_id"),
    index("idx_guardrail_configs_guardrail_id", "guardrail_id"),
)
table(
    "budget_policies",
    "budget_policy_id:36! budget_unit:32! budget_amount:float! duration_unit:32! duration_value:int! "
    "target_scope:32! budget_action:32! created_by:255 created_at:big! last_updated_by:255 "
    "last_updated_at:big! workspace target_value:255",
    primary("budget_policies_pk", "budget_policy_id"),
    index("idx_budget_policies_target_value", "target_value"),
    index("idx_budget_policies_workspace", "workspace"),
)
table(
    "jobs",
    "id:36! creation_time:big! job_name:500! params:text! timeout:double status:int! result:text "
    "retry_count:int! last_update_time:big! workspace status_details:json creator:255 "
    "executor_backend:255 lease_expires_at:big status_message:text progress:json "
    "progress_updated_at:big token_hash:64 scoped_permissions:json next_attempt_at:big",
    primary("jobs_pk", "id"),
    index("index_jobs_name_status_creation_time", "job_name workspace status creation_time"),
    index("index_jobs_status_lease_expires_at", "status lease_expires_at"),
)
table(
    "job_locks",
    "lock_key:255! job_id:36! acquired_at:big!",
    primary("job_locks_pk", "lock_key"),
    foreign("job_id", "jobs", "id", name="fk_job_locks_job_id", ondelete="CASCADE"),
    index("index_job_locks_job_id", "job_id"),
)
table(
    "scheduler_leases",
    "lease_key:255! acquired_at:big! ttl_seconds:int!",
    primary("scheduler_leases_pk", "lease_key"),
)
table(
    "mcp_servers",
    "workspace name:256! display_name:256 description:text icons:json created_by:256 "
    "last_updated_by:256 created_at:big! last_updated_at:big!",
    primary("mcp_servers_pk", "workspace name"),
)
table(
    "mcp_server_aliases",
    "workspace name:256! alias:256! version:128!",
    primary("mcp_server_aliases_pk", "workspace name alias"),
    foreign(
        "workspace name",
        "mcp_servers",
        name="mcp_server_aliases_server_fkey",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)
table(
    "mcp_server_tags",
    "workspace name:256! key:250! value:5000",
    primary("mcp_server_tags_pk", "workspace name key"),
    foreign(
        "workspace name",
        "mcp_servers",
        name="mcp_server_tags_server_fkey",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)
table(
    "mcp_server_versions",
    "workspace name:256! version:128! version_major:int! version_minor:int! "
    "version_patch:int! version_prerelease_sort_key:512! server_json:json! status:20!=draft "
    "tools:json source:512 connect_options:json created_by:256 last_updated_by:256 created_at:big! "
    "last_updated_at:big!",
    primary("mcp_server_versions_pk", "workspace name version"),
    foreign(
        "workspace name",
        "mcp_servers",
        name="mcp_server_versions_server_fkey",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
    Index("idx_mcp_server_versions_latest", "workspace", "name", "status", *_NEWEST_FIRST),
)
table(
    "mcp_server_version_tags",
    "workspace name:256! version:128! key:250! value:5000",
    primary("mcp_server_version_tags_pk", "workspace name version key"),
    foreign(
        "workspace name version",
        "mcp_server_versions",
        name="mcp_server_version_tags_version_fkey",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)
table(
    "mcp_access_endpoints",
    "id:36! workspace server_name:256! server_version:128 server_alias:256 url:2048! "
    "transport_type:32!=streamable-http created_by:256 last_updated_by:256 created_at:big! "
    "last_updated_at:big!",
    primary("mcp_access_endpoints_pk", "id"),
    foreign(
        "workspace server_name",
        "mcp_servers",
        "workspace name",
        name="mcp_access_endpoints_server_fkey",
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
    index("ix_mcp_access_endpoints_alias", "workspace server_name server_alias"),
    index("ix_mcp_access_endpoints_server_name", "workspace server_name"),
    index("ix_mcp_access_endpoints_version", "workspace server_name server_version"),
)
table(
    "webhooks",
    "webhook_id:256! name:256! description:1000 url:500! status:20!=ACTIVE secret:1000 "
    "creation_timestamp:big last_updated_timestamp:big deleted_timestamp:big workspace",
    primary("webhook_pk", "webhook_id"),
    index("idx_webhooks_name", "name"),
    index("idx_webhooks_status", "status"),
    index("idx_webhooks_workspace", "workspace"),
)
table(
    "webhook_events",
    "webhook_id:256! entity:50! action:50!",
    primary("webhook_event_pk", "webhook_id entity action"),
    foreign("webhook_id", "webhooks", ondelete="CASCADE"),
    index("idx_webhook_events_action", "action"),
    index("idx_webhook_events_entity", "entity"),
    index("idx_webhook_events_entity_action", "entity action"),
)
