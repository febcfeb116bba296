"""The spec as JSON Schema (draft 2020-12): what editors complete and check while a spec is written."""

from __future__ import annotations

from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from dopq.container_handler.container_config import ContainerConfig, JobToml

SpecFormat = Literal["job", "container_config"]


def spec_schema(spec_format: SpecFormat) -> dict[str, Any]:
    """The schema of `job.toml` or of `container_config.json`, made from the very models that check them.

    Everything that the gate takes fits, but for null, which means the same as leaving a key out. What a node limits by
    its own settings, and values that only a program can judge (a command's quotes), the schema cannot tell.
    """
    model = JobToml if spec_format == "job" else ContainerConfig
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **model.model_json_schema(schema_generator=_WithoutNull),
        "title": "job.toml" if spec_format == "job" else "container_config.json",
    }


class _WithoutNull(GenerateJsonSchema):
    """None is how the models spell a key that is not there; a spec just leaves it out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False
