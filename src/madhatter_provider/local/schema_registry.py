"""A schema registry for tests and the local platform: Confluent's REST API, as far as producers and consumers
use it.

``python -m madhatter_provider.local.schema_registry --port PORT --data FILE`` keeps its schemas in a file;
``--user NAME:PASSWORD`` asks for basic authentication. Any version is compatible with any other (level NONE).
Protobuf schemas are file descriptors in base64, as confluent-kafka for Python sends them.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class _Refused(Exception):
    """An answer of the registry that is not a success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, int(str(code)[:3])


@dataclass(slots=True)
class SchemaStore:
    """Schemas by id, and the ids of each subject's versions, in order; the file is the truth."""

    file: Path
    schemas: list[dict[str, Any]] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path) -> SchemaStore:
        """Read the file, if it is there."""
        content = json.loads(file.read_text("utf-8")) if file.exists() else {}
        return cls(file, content.get("schemas", []), content.get("subjects", {}))

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Id of a schema, new or not; it becomes the subject's newest version, if it is none yet."""
        if schema not in self.schemas:
            self.schemas.append(schema)
        schema_id = self.schemas.index(schema) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
            self._save()
        return schema_id

    def schema(self, schema_id: int) -> dict[str, Any]:
        """The schema with an id."""
        if not 1 <= schema_id <= len(self.schemas):
            raise _Refused(40403, f"Schema {schema_id} not found")
        return self.schemas[schema_id - 1]

    def versions(self, subject: str) -> list[int]:
        """Ids of a subject's versions."""
        if subject not in self.subjects:
            raise _Refused(40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def version(self, subject: str, wanted: str) -> dict[str, Any]:
        """A version of a subject by its number, or the ``latest``."""
        ids = self.versions(subject)
        number = len(ids) if wanted in ("latest", "-1") else int(wanted) if wanted.isdigit() else 0
        if not 1 <= number <= len(ids):
            raise _Refused(40402, f"Version {wanted} not found.")
        return self._described(subject, number, ids[number - 1])

    def look_up(self, subject: str, schema: dict[str, Any]) -> dict[str, Any]:
        """The version of a subject that has this schema."""
        for number, schema_id in enumerate(self.versions(subject), 1):
            if self.schemas[schema_id - 1] == schema:
                return self._described(subject, number, schema_id)
        raise _Refused(40403, "Schema not found")

    def uses(self, schema_id: int) -> list[dict[str, Any]]:
        """Subjects and versions that have a schema."""
        self.schema(schema_id)
        return [
            {"subject": subject, "version": ids.index(schema_id) + 1}
            for subject, ids in self.subjects.items()
            if schema_id in ids
        ]

    def _described(self, subject: str, number: int, schema_id: int) -> dict[str, Any]:
        return {"subject": subject, "version": number, "id": schema_id, **self.schemas[schema_id - 1]}

    def _save(self) -> None:
        content = asdict(self)
        del content["file"]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        scratch.write_text(json.dumps(content, indent=1), "utf-8")
        scratch.replace(self.file)


class _Api:
    """The answers."""

    def __init__(self, store: SchemaStore) -> None:
        self._store = store

    async def register(self, request: Request) -> Response:
        schema = _checked(await request.json())
        return _answer({"id": self._store.register(request.path_params["subject"], schema), **schema})

    async def look_up(self, request: Request) -> Response:
        return _answer(self._store.look_up(request.path_params["subject"], _checked(await request.json())))

    async def by_id(self, request: Request) -> Response:
        return _answer(self._store.schema(request.path_params["id"]))

    async def subjects_of(self, request: Request) -> Response:
        return _answer([use["subject"] for use in self._store.uses(request.path_params["id"])])

    async def versions_of(self, request: Request) -> Response:
        return _answer(self._store.uses(request.path_params["id"]))

    async def subjects(self, _: Request) -> Response:
        return _answer(sorted(self._store.subjects))

    async def versions(self, request: Request) -> Response:
        return _answer(list(range(1, len(self._store.versions(request.path_params["subject"])) + 1)))

    async def version(self, request: Request) -> Response:
        places = request.path_params
        return _answer(self._store.version(places["subject"], places["version"]))

    async def types(self, _: Request) -> Response:
        return _answer(["AVRO", "JSON", "PROTOBUF"])

    async def config(self, _: Request) -> Response:
        return _answer({"compatibilityLevel": "NONE"})

    async def compatible(self, _: Request) -> Response:
        return _answer({"is_compatible": True})


def schema_registry_app(file: Path, user: str = "") -> Starlette:
    """The service.

    :param file: where schemas are kept (JSON).
    :param user: ``name:password`` that every request must bring; none: anyone may ask.
    """
    api, subject = _Api(SchemaStore.open(file)), "/subjects/{subject}"
    routes = [
        Route("/subjects", api.subjects),
        Route(subject, api.look_up, methods=["POST"]),
        Route(f"{subject}/versions", api.register, methods=["POST"]),
        Route(f"{subject}/versions", api.versions),
        Route(f"{subject}/versions/{{version}}", api.version),
        Route("/schemas/types", api.types),
        Route("/schemas/ids/{id:int}", api.by_id),
        Route("/schemas/ids/{id:int}/subjects", api.subjects_of),
        Route("/schemas/ids/{id:int}/versions", api.versions_of),
        Route("/config", api.config),
        Route("/config/{subject}", api.config),
        Route("/compatibility/subjects/{subject}/versions", api.compatible, methods=["POST"]),
        Route("/compatibility/subjects/{subject}/versions/{version}", api.compatible, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_BasicAuth, user=user)] if user else [],
        exception_handlers={_Refused: _refusal},
    )


class _BasicAuth(BaseHTTPMiddleware):
    def __init__(self, app: Any, user: str) -> None:
        super().__init__(app)
        self._wanted = "Basic " + base64.b64encode(user.encode()).decode()

    async def dispatch(self, request: Request, call_next: Handler) -> Response:
        if hmac.compare_digest(request.headers.get("authorization", ""), self._wanted):
            return await call_next(request)
        return _answer({"error_code": 401, "message": "Unauthorized"}, 401)


def _answer(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, media_type=_MEDIA_TYPE)


def _refusal(_: Request, refused: Exception) -> Response:
    assert isinstance(refused, _Refused)
    return _answer({"error_code": refused.code, "message": str(refused)}, refused.status)


def _checked(request: Any) -> dict[str, Any]:
    """A schema as it is kept: type, text and references, if it can be read."""
    kind, text = request.get("schemaType") or "AVRO", request.get("schema") or ""
    references = request.get("references") or []
    try:
        if kind == "PROTOBUF":
            from google.protobuf.descriptor_pb2 import FileDescriptorProto

            FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
        elif kind in ("AVRO", "JSON"):
            json.loads(text)
        else:
            raise ValueError(f"unknown schema type {kind}")
    except Exception as err:  # whatever protobuf's parser raises: the schema cannot be read
        raise _Refused(42201, f"Invalid schema: {err}") from err
    schema: dict[str, Any] = {"schema": text}
    if kind != "AVRO":
        schema["schemaType"] = kind
    if references:
        schema["references"] = references
    return schema


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(
        prog="python -m madhatter_provider.local.schema_registry", description=__doc__
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="File for the schemas (JSON).")
    parser.add_argument("--user", default="", help="NAME:PASSWORD that requests must bring.")
    args = parser.parse_args(argv)
    app = schema_registry_app(args.data, args.user)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
