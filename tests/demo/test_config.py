"""The demo's configurations are valid by the schema that they carry."""

import json

import pytest
from jsonschema import Draft202012Validator

from demo import config


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(config.schema_bytes()))


@pytest.mark.parametrize("version", [config.FACTORY, config.FIRST, config.NEXT, config.NEEDS_UNKNOWN_MODEL])
def test_config_is_valid_by_its_schema(version: config.Config) -> None:
    Draft202012Validator(json.loads(config.schema_bytes())).validate(json.loads(version.data))


def test_schema_refuses_a_threshold_out_of_range() -> None:
    values = json.loads(config.FIRST.data)
    values["thresholds"]["confidence"] = 1.5
    assert list(Draft202012Validator(config.SCHEMA).iter_errors(values))
