# What tools see of the package: each name, from where `__init__.py` takes it when it is used.

from shoso import artifacts as artifacts
from shoso import entities as entities
from shoso.client.active import ActiveRun as ActiveRun
from shoso.client.active import active_run as active_run
from shoso.client.active import end_run as end_run
from shoso.client.active import last_active_run as last_active_run
from shoso.client.active import set_experiment as set_experiment
from shoso.client.active import start_run as start_run
from shoso.client.catalog import create_experiment as create_experiment
from shoso.client.catalog import delete_experiment as delete_experiment
from shoso.client.catalog import delete_experiment_tag as delete_experiment_tag
from shoso.client.catalog import delete_run as delete_run
from shoso.client.catalog import get_experiment as get_experiment
from shoso.client.catalog import get_experiment_by_name as get_experiment_by_name
from shoso.client.catalog import get_parent_run as get_parent_run
from shoso.client.catalog import get_run as get_run
from shoso.client.catalog import restore_experiment as restore_experiment
from shoso.client.catalog import restore_run as restore_run
from shoso.client.catalog import search_experiments as search_experiments
from shoso.client.catalog import search_runs as search_runs
from shoso.client.catalog import set_experiment_tag as set_experiment_tag
from shoso.client.catalog import set_experiment_tags as set_experiment_tags
from shoso.client.current import get_tracking_uri as get_tracking_uri
from shoso.client.current import is_tracking_uri_set as is_tracking_uri_set
from shoso.client.current import set_tracking_uri as set_tracking_uri
from shoso.client.fluent import RunOperations as RunOperations
from shoso.client.fluent import delete_tag as delete_tag
from shoso.client.fluent import flush_artifact_async_logging as flush_artifact_async_logging
from shoso.client.fluent import flush_async_logging as flush_async_logging
from shoso.client.fluent import get_artifact_uri as get_artifact_uri
from shoso.client.fluent import load_table as load_table
from shoso.client.fluent import log_artifact as log_artifact
from shoso.client.fluent import log_artifacts as log_artifacts
from shoso.client.fluent import log_dict as log_dict
from shoso.client.fluent import log_figure as log_figure
from shoso.client.fluent import log_image as log_image
from shoso.client.fluent import log_input as log_input
from shoso.client.fluent import log_inputs as log_inputs
from shoso.client.fluent import log_metric as log_metric
from shoso.client.fluent import log_metrics as log_metrics
from shoso.client.fluent import log_param as log_param
from shoso.client.fluent import log_params as log_params
from shoso.client.fluent import log_stream as log_stream
from shoso.client.fluent import log_table as log_table
from shoso.client.fluent import log_text as log_text
from shoso.client.fluent import set_tag as set_tag
from shoso.client.fluent import set_tags as set_tags
from shoso.client.tracking import Client as Client
from shoso.errors import ShosoError as ShosoError

__version__: str
MLFLOW_VERSION: str
MlflowClient = Client
MlflowException = ShosoError
