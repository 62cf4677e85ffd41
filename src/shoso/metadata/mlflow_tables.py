"""Tables that Shoso creates for MLflow alone: traces, evaluation, review. Nothing of ours reads them.

MLflow starts its migrations over where one of its tables is missing, so a database that Shoso made has them
all. A column is a `name:type` word: a number is VARCHAR of that length, `!` is NOT NULL, `=x` the default.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    Float,
    Identity,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from shoso.metadata.dialects.types import LONG_TEXT, MODEL_NAME
from shoso.metadata.schema import DOUBLE, SCHEMA, foreign, index, primary, unique, workspace

_COSTS: dict[str, Any] = {
    "postgresql_include": ["input_cost", "output_cost", "total_cost", "model_name", "model_provider"],
    "postgresql_where": text("input_cost IS NOT NULL OR output_cost IS NOT NULL OR total_cost IS NOT NULL"),
}
_TYPES: dict[str, TypeEngine[Any]] = {
    "big": BigInteger(),
    "blob": LargeBinary(),
    "bool": Boolean(),
    "date": Date(),
    "double": DOUBLE,
    "float": Float(),
    "int": Integer(),
    "json": JSON(),
    "longtext": LONG_TEXT,
    "model": MODEL_NAME,
    "text": Text(),
}


def table(name: str, *parts: str | SchemaItem) -> Table:
    """A table of MLflow's: words of columns, and keys and indexes."""
    items = [item for part in parts for item in (_columns(part) if isinstance(part, str) else [part])]
    return Table(name, SCHEMA, *items)


def _columns(words: str) -> list[SchemaItem]:
    return [_column(word) for word in words.split()]


def _column(word: str) -> Column[Any]:
    if word == "workspace":
        return workspace()
    word, _, default = word.partition("=")
    name, _, code = word.rstrip("!").partition(":")
    if code == "serial":
        return Column(name, BigInteger().with_variant(Integer, "sqlite"), Identity(always=False))
    kind = String(int(code)) if code.isdigit() else _TYPES[code]
    server_default = false() if default == "false" else default or None
    return Column(name, kind, nullable=not word.endswith("!"), server_default=server_default)


table(
    "trace_info",
    "request_id:50! experiment_id:int! timestamp_ms:big! execution_time_ms:big status:50! "
    "client_request_id:50 request_preview:1000 response_preview:1000 db_payload_generation:int!=0 "
    "trace_name:4096 session_id:250 input_tokens:big output_tokens:big total_tokens:big "
    "cache_read_input_tokens:big cache_creation_input_tokens:big "
    "cache_creation_input_tokens_above_1hr:big input_cost:double output_cost:double total_cost:double",
    primary("trace_info_pk", "request_id"),
    foreign("experiment_id", "experiments", name="fk_trace_info_experiment_id", ondelete="CASCADE"),
    index("index_trace_info_experiment_id_session_id", "experiment_id session_id"),
    index("index_trace_info_experiment_id_timestamp_ms", "experiment_id timestamp_ms"),
    index("index_trace_info_timestamp_ms_request_id", "timestamp_ms request_id"),
)
table(
    "trace_tags",
    "key:250! value:8000 request_id:50!",
    primary("trace_tag_pk", "key request_id"),
    foreign("request_id", "trace_info", name="fk_trace_tags_request_id", ondelete="CASCADE"),
    index("index_trace_tags_request_id", "request_id"),
)
table(
    "trace_request_metadata",
    "key:250! value:8000 request_id:50!",
    primary("trace_request_metadata_pk", "key request_id"),
    foreign("request_id", "trace_info", name="fk_trace_request_metadata_request_id", ondelete="CASCADE"),
    index("index_trace_request_metadata_request_id", "request_id"),
)
table(
    "trace_metrics",
    "request_id:50! key:250! value:double",
    primary("trace_metrics_pk", "request_id key"),
    foreign("request_id", "trace_info", name="fk_trace_metrics_request_id", ondelete="CASCADE"),
    index("index_trace_metrics_request_id", "request_id"),
)
table(
    "spans",
    "trace_id:50! experiment_id:int! span_id:50! parent_span_id:50 name:text type:500 status:50! "
    "start_time_unix_nano:big! end_time_unix_nano:big",
    Column("duration_ns", BigInteger, Computed("end_time_unix_nano - start_time_unix_nano", persisted=True)),
    "content:longtext! input_cost:double output_cost:double total_cost:double "
    "model_name:model model_provider:model",
    primary("spans_pk", "trace_id span_id"),
    foreign("experiment_id", "experiments", name="fk_spans_experiment_id"),
    foreign("trace_id", "trace_info", "request_id", name="fk_spans_trace_id", ondelete="CASCADE"),
    index("idx_spans_cost_exp_time_cover", "experiment_id start_time_unix_nano", **_COSTS),
    index("idx_spans_cost_trace_time_cover", "trace_id start_time_unix_nano", **_COSTS),
    index("index_spans_experiment_id_duration", "experiment_id duration_ns"),
    index("index_spans_experiment_id_start_time", "experiment_id start_time_unix_nano"),
    index("index_spans_experiment_id_status_type", "experiment_id status type"),
    index("index_spans_experiment_id_type_status", "experiment_id type status"),
)
table(
    "span_metrics",
    "trace_id:50! span_id:50! key:250! value:double",
    primary("span_metrics_pk", "trace_id span_id key"),
    foreign("trace_id span_id", "spans", name="fk_span_metrics_span", ondelete="CASCADE"),
    index("index_span_metrics_trace_id_span_id", "trace_id span_id"),
)
table(
    "assessments",
    "assessment_id:50! trace_id:50! name:250! assessment_type:20! value:text! error:text "
    "created_timestamp:big! last_updated_timestamp:big! source_type:50! source_id:250 run_id:32 "
    "span_id:50 rationale:text overrides:50 valid:bool! assessment_metadata:text experiment_id:int "
    "trace_timestamp_ms:big aggregate_value:double is_numeric_value:bool!=false",
    primary("assessments_pk", "assessment_id"),
    foreign("trace_id", "trace_info", "request_id", name="fk_assessments_trace_id", ondelete="CASCADE"),
    index("idx_assessments_exp_name_valid", "experiment_id name valid"),
    index("idx_assessments_exp_trace_ts", "experiment_id trace_timestamp_ms"),
    index("idx_assessments_exp_trace_ts_name", "experiment_id trace_timestamp_ms name"),
    index("index_assessments_assessment_type", "assessment_type"),
    index("index_assessments_last_updated_timestamp", "last_updated_timestamp"),
    index("index_assessments_run_id_created_timestamp", "run_id created_timestamp"),
    index("index_assessments_trace_id_created_timestamp", "trace_id created_timestamp"),
)
table(
    "sql_trace_metric_daily_rollups",
    "id:serial! experiment_id:int! rollup_day:date! metric_name:250! grouping_set:50! trace_status:50 "
    "sample_count:big! sum_value:double min_value:double max_value:double p50_value:double "
    "p90_value:double p99_value:double",
    primary("sql_trace_metric_daily_rollups_pk", "id"),
    index("idx_trace_rollups_lookup", "experiment_id rollup_day metric_name grouping_set trace_status"),
)
table(
    "sql_span_cost_daily_rollups",
    "id:serial! experiment_id:int! rollup_day:date! metric_name:250! grouping_set:50! model_name:model "
    "model_provider:model sample_count:big! sum_value:double min_value:double max_value:double",
    primary("sql_span_cost_daily_rollups_pk", "id"),
    index(
        "idx_span_cost_rollups_lookup",
        "experiment_id rollup_day metric_name grouping_set model_name model_provider",
        mysql_length={"model_name": 64, "model_provider": 64},
    ),
)
table(
    "sql_assessment_daily_rollups",
    "id:serial! experiment_id:int! rollup_day:date! metric_name:250! grouping_set:50! sample_count:big! "
    "sum_value:double min_value:double max_value:double",
    primary("sql_assessment_daily_rollups_pk", "id"),
    index("idx_assessment_rollups_lookup", "experiment_id rollup_day metric_name grouping_set"),
)
table(
    "sql_trace_rollup_rebuild_queue",
    "experiment_id:int! rollup_day:date! rollup_family:50!",
    primary("sql_trace_rollup_rebuild_queue_pk", "experiment_id rollup_day rollup_family"),
)
table(
    "evaluation_datasets",
    "dataset_id:36! name:255! schema:text profile:text digest:64 created_time:big "
    "last_update_time:big created_by:255 last_updated_by:255 workspace",
    primary("evaluation_datasets_pk", "dataset_id"),
    index("idx_evaluation_datasets_workspace", "workspace"),
    index("index_evaluation_datasets_created_time", "created_time"),
    index("index_evaluation_datasets_name", "name"),
)
table(
    "evaluation_dataset_tags",
    "dataset_id:36! key:255! value:5000",
    primary("evaluation_dataset_tags_pk", "dataset_id key"),
    foreign(
        "dataset_id", "evaluation_datasets", name="fk_evaluation_dataset_tags_dataset_id", ondelete="CASCADE"
    ),
    index("index_evaluation_dataset_tags_dataset_id", "dataset_id"),
)
table(
    "evaluation_dataset_records",
    "dataset_record_id:36! dataset_id:36! inputs:json! expectations:json tags:json source:json "
    "source_id:36 source_type:255 created_time:big last_update_time:big created_by:255 "
    "last_updated_by:255 input_hash:64! outputs:json",
    primary("evaluation_dataset_records_pk", "dataset_record_id"),
    unique("unique_dataset_input", "dataset_id input_hash"),
    foreign(
        "dataset_id",
        "evaluation_datasets",
        name="fk_evaluation_dataset_records_dataset_id",
        ondelete="CASCADE",
    ),
    index("index_evaluation_dataset_records_dataset_id", "dataset_id"),
)
table(
    "entity_associations",
    "association_id:36! source_type:36! source_id:36! destination_type:36! destination_id:36! "
    "created_time:big",
    primary("entity_associations_pk", "source_type source_id destination_type destination_id"),
    index("index_entity_associations_association_id", "association_id"),
    index(
        "index_entity_associations_reverse_lookup", "destination_type destination_id source_type source_id"
    ),
)
table(
    "scorers",
    "experiment_id:int! scorer_name:256! scorer_id:36!",
    primary("scorer_pk", "scorer_id"),
    foreign("experiment_id", "experiments", name="fk_scorers_experiment_id", ondelete="CASCADE"),
    index("index_scorers_experiment_id_scorer_name", "experiment_id scorer_name", unique=True),
)
table(
    "scorer_versions",
    "scorer_id:36! scorer_version:int! serialized_scorer:text! creation_time:big",
    primary("scorer_version_pk", "scorer_id scorer_version"),
    foreign("scorer_id", "scorers", name="fk_scorer_versions_scorer_id", ondelete="CASCADE"),
    index("index_scorer_versions_scorer_id", "scorer_id"),
)
table(
    "online_scoring_configs",
    "online_scoring_config_id:36! scorer_id:36! sample_rate:double! experiment_id:int! filter_string:text",
    primary("online_scoring_config_pk", "online_scoring_config_id"),
    foreign("scorer_id", "scorers", name="fk_online_scoring_configs_scorer_id", ondelete="CASCADE"),
    foreign("experiment_id", "experiments", name="fk_online_scoring_configs_experiment_id"),
)
table(
    "issues",
    "issue_id:36! experiment_id:int! name:250! description:text! status:50! severity:50 "
    "root_causes:text source_run_id:32 categories:text created_timestamp:big! "
    "last_updated_timestamp:big! created_by:255",
    primary("issues_pk", "issue_id"),
    foreign("experiment_id", "experiments", name="fk_issues_experiment_id", ondelete="CASCADE"),
    foreign("source_run_id", "runs", "run_uuid", name="fk_issues_source_run_id", ondelete="SET NULL"),
    index("index_issues_experiment_id", "experiment_id"),
    index("index_issues_source_run_id", "source_run_id"),
    index("index_issues_status", "status"),
)
table(
    "label_schemas",
    "schema_id:36! experiment_id:int! name:250! type:16! instruction:text enable_comment:bool!=0 "
    "input_type:32! input_config:text! created_by:255 created_time:big! last_update_time:big! "
    "is_default:bool!=false",
    primary("label_schemas_pk", "schema_id"),
    unique("uq_label_schemas_exp_name", "experiment_id name"),
    foreign("experiment_id", "experiments", name="fk_label_schemas_experiment_id", ondelete="CASCADE"),
    index("index_label_schemas_experiment_id", "experiment_id"),
)
table(
    "review_queues",
    "queue_id:36! experiment_id:int! name:250! queue_type:16! created_by:255 creation_time_ms:big! "
    "last_update_time_ms:big! name_key:250!",
    primary("review_queues_pk", "queue_id"),
    unique("uq_review_queues_experiment_name_key", "experiment_id name_key"),
    foreign("experiment_id", "experiments", name="fk_review_queues_experiment_id", ondelete="CASCADE"),
    index("index_review_queues_experiment_id", "experiment_id"),
)
table(
    "review_queue_items",
    "queue_id:36! item_type:16! item_id:50! status:16! completed_by:250 completed_time_ms:big "
    "creation_time_ms:big! last_update_time_ms:big!",
    primary("review_queue_items_pk", "queue_id item_id"),
    foreign("queue_id", "review_queues", name="fk_review_queue_items_queue_id", ondelete="CASCADE"),
    index("index_review_queue_items_item_id", "item_id"),
    index("index_review_queue_items_queue_id_status", "queue_id status"),
)
table(
    "review_queue_label_schemas",
    "queue_id:36! schema_id:36!",
    primary("review_queue_label_schemas_pk", "queue_id schema_id"),
    foreign("queue_id", "review_queues", name="fk_review_queue_label_schemas_queue_id", ondelete="CASCADE"),
    index("index_review_queue_label_schemas_schema_id", "schema_id"),
)
table(
    "review_queue_users",
    "queue_id:36! user_id:250!",
    primary("review_queue_users_pk", "queue_id user_id"),
    foreign("queue_id", "review_queues", name="fk_review_queue_users_queue_id", ondelete="CASCADE"),
    index("index_review_queue_users_user_id", "user_id"),
)
