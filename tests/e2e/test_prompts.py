"""Prompts, as far as they are entries of the model registry, by MLflow 3's client."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.exceptions import MlflowException


@pytest.fixture
def prompt(unique):
    """A prompt with two versions, the first of which is called `production`."""
    mlflow.genai.register_prompt(unique, "Say {{what}}.", commit_message="first", tags={"team": "x"})
    mlflow.genai.register_prompt(unique, [{"role": "user", "content": "Say {{what}}!"}])
    mlflow.genai.set_prompt_alias(unique, "production", 1)
    return unique


def test_a_prompt_is_loaded_by_version_and_alias(prompt):
    first = mlflow.genai.load_prompt(prompt, version=1)
    assert first.format(what="hello") == "Say hello."
    assert (first.version, first.commit_message) == (1, "first")
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}@production").version == 1
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}/2").template[0]["content"] == "Say {{what}}!"
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}@latest").version == 2


def test_an_alias_moves_and_goes(prompt):
    mlflow.genai.set_prompt_alias(prompt, "production", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}@production").version == 2
    mlflow.genai.delete_prompt_alias(prompt, "production")
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}@production", allow_missing=True) is None


def test_prompts_are_found_as_prompts_only(client, prompt):
    found = mlflow.genai.search_prompts(f"name = '{prompt}'")
    assert [each.name for each in found] == [prompt]
    assert client.search_registered_models(f"name = '{prompt}'") == []
    assert client.search_model_versions(f"name = '{prompt}'") == []
    assert [v.version for v in client.search_prompt_versions(prompt)] in (["1", "2"], [2, 1])


def test_tags_of_a_prompt_and_of_its_versions(client, prompt):
    client.set_prompt_tag(prompt, "owner", "me")
    client.set_prompt_version_tag(prompt, 1, "score", "5")
    assert client.get_prompt(prompt).tags["owner"] == "me"
    assert mlflow.genai.load_prompt(prompt, version=1, cache_ttl_seconds=0).tags["score"] == "5"
    client.delete_prompt_tag(prompt, "owner")
    assert "owner" not in client.get_prompt(prompt).tags


def test_a_prompt_and_a_model_cannot_share_a_name(client, prompt, unique):
    with pytest.raises(MlflowException, match="already taken by a prompt") as failure:
        client.create_registered_model(prompt)
    assert failure.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(MlflowException):
        client.get_registered_model(prompt)


def test_a_prompt_that_a_run_loads_is_linked_to_it(client, experiment, prompt):
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.genai.load_prompt(prompt, version=1)
    tags = client.get_run(run.info.run_id).data.tags
    assert prompt in tags["mlflow.linkedPrompts"]


def test_a_deleted_prompt_is_gone(client, prompt):
    client.delete_prompt_version(prompt, "1")
    client.delete_prompt_version(prompt, "2")
    client.delete_prompt(prompt)
    assert list(mlflow.genai.search_prompts(f"name = '{prompt}'")) == []
