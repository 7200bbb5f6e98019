"""A server that speaks the REST API of Kubeflow Pipelines (v2beta1) on loopback, for the tests of the command line.

It keeps pipelines, versions, experiments, runs and recurring runs in memory and checks what it is asked as Kubeflow's
own server does. Every request and every answer goes through the models of ``kfp-server-api``: a field they do not know,
or a value of another type, fails the test. What becomes of runs, the test says.
"""

import email.message
import email.policy
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
import yaml

Json = dict[str, Any]

#: The API's own defaults and limits.
_PAGE_SIZE, _MAX_PAGE_SIZE = 20, 200
#: Operations of a filter by the numbers that kfp's client sends.
_EQUALS = (1, "EQUALS")


class RefusalError(Exception):
    """An answer that says no, with the API's error body."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Answer:
    """Something else than the API's answer, for one request: a proxy's page, a server that is broken."""

    status: HTTPStatus
    body: str
    content_type: str = "text/html"
    #: Regular expression of the requests it is for, after /apis/v2beta1/.
    path: str = ".*"


@dataclass
class KfpApi:
    """The server's memory, and what a test does behind its back."""

    address: str = ""
    #: The bearer token to be let in; None: everybody is.
    token: str | None = None
    multi_user: bool = False
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    recurring_runs: dict[str, Any] = field(default_factory=dict)
    #: Method, path and JSON body of each request that was let in.
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    #: Given in place of the API's answers, one each.
    interruptions: list[Answer] = field(default_factory=list)
    #: Failed checks of the server itself.
    broken: list[str] = field(default_factory=list)
    #: Called with a run before each answer about it: the test moves it on.
    on_look: Callable[[Any], None] = lambda run: None

    def asked(self, method: str, path: str) -> list[Any]:
        """The bodies of all requests of a kind; ``path`` is a regular expression after /apis/v2beta1/."""
        wanted = re.compile(f"{_PROXY}/apis/v2beta1/{path}")
        return [body for m, p, body in self.requests if m == method and wanted.fullmatch(p)]


@contextmanager
def kfp_api(certificate: Path | None = None) -> Iterator[KfpApi]:
    """A server that is empty. After the block it must have found nothing wrong with itself or its clients.

    Args:
        certificate: PEM file of a certificate and its key, for https.
    """
    state = KfpApi()

    class Handler(_Handler):
        memory = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.address = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not state.broken, state.broken


# --- models


@dataclass(frozen=True)
class _Text:
    """An answer as the generated client's deserialiser takes it."""

    data: str


_CLIENT = api.ApiClient(api.Configuration())


def parsed(body: Any, model: str) -> Any:
    """JSON as a model of kfp-server-api, which must lose nothing of it."""
    read = _CLIENT.deserialize(_Text(json.dumps(body)), model)
    unknown = set(body) - {*read.attribute_map.values()}
    if unknown:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"proto: unknown field {sorted(unknown)[0]!r} in {model}")
    again = json.loads(json.dumps(_CLIENT.sanitize_for_serialization(read)))
    assert _without_nulls(again) == _without_nulls(body), (again, body)
    return read


def told(answer: Any) -> Json:
    """A model of kfp-server-api as JSON, from which it can be read again."""
    body: Json = json.loads(json.dumps(_CLIENT.sanitize_for_serialization(answer)))
    parsed(body, type(answer).__name__)
    return body


def _without_nulls(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nulls(value) for key, value in tree.items() if value is not None}
    return [_without_nulls(item) for item in tree] if isinstance(tree, list) else tree


def new_id() -> str:
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC)


# --- what the server does


def _pages(items: list[Any], query: Mapping[str, str], model: type, name: str) -> Any:
    """A page of a listing, filtered and sorted as the query asks."""
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
        assert predicate["operation"] in _EQUALS, predicate
        items = [item for item in items if getattr(item, predicate["key"]) == predicate["stringValue"]]
    key, _, order = (query.get("sort_by") or "created_at").partition(" ")
    items = sorted(items, key=lambda item: getattr(item, key), reverse=order == "desc")
    size = int(query.get("page_size") or 0) or _PAGE_SIZE
    if size > _MAX_PAGE_SIZE:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"The page size should be at most {_MAX_PAGE_SIZE}")
    start = int(query.get("page_token") or 0)
    rest = str(start + size) if start + size < len(items) else None
    return model(**{name: items[start : start + size]}, total_size=len(items), next_page_token=rest)


def _in_namespace(state: KfpApi, items: Mapping[str, Any], query: Mapping[str, str]) -> list[Any]:
    namespace = query.get("namespace")
    if state.multi_user and not namespace:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "Invalid input error: namespace is empty in multi-user mode")
    return [item for item in items.values() if not namespace or item.namespace == namespace]


def _get(items: Mapping[str, Any], key: str, kind: str) -> Any:
    if key not in items:
        raise RefusalError(HTTPStatus.NOT_FOUND, f"ResourceNotFoundError: {kind} {key} not found")
    return items[key]


def _pinned(state: KfpApi, reference: Any, parameters: Mapping[str, Any] | None) -> None:
    """Check a version and its inputs, as Kubeflow's API server does when a run or a recurring run is made."""
    version = _get(state.versions, reference.pipeline_version_id, "PipelineVersion")
    assert version.pipeline_id == reference.pipeline_id
    spec = version.pipeline_spec.get("pipeline_spec", version.pipeline_spec)
    known = spec["root"]["inputDefinitions"]["parameters"]
    given = parameters or {}
    kinds = {"STRING": str, "NUMBER_INTEGER": int, "STRUCT": dict}
    for name, definition in known.items():
        if name not in given and not definition.get("isOptional"):
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"pipeline requiring input has no parameter(s) provided: {name}")
        if name in given and not isinstance(given[name], kinds[definition["parameterType"]]):
            raise RefusalError(
                HTTPStatus.BAD_REQUEST, f"input parameter {name} requires type {definition['parameterType']}"
            )
    if extra := set(given) - set(known):
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"parameter {sorted(extra)[0]} is not found in pipeline spec")


class _Handler(BaseHTTPRequestHandler):
    """The routes. Each gets the state, what the path names, the query and the body, and returns a model or None."""

    memory: KfpApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for answer in self.memory.interruptions:
            if re.fullmatch(f"/apis/v2beta1/{answer.path}", urlsplit(self.path).path):
                self.memory.interruptions.remove(answer)
                self._send(answer.status, answer.body, answer.content_type)
                return
        try:
            self._let_in()
            made = self._route(method, body)
            self._send(HTTPStatus.OK, json.dumps({} if made is None else told(made)))
        except RefusalError as refusal:
            grpc = {400: 3, 401: 16, 404: 5, 409: 6}[refusal.status]
            self._send(refusal.status, json.dumps({"code": grpc, "message": str(refusal), "details": []}))
        except Exception as error:  # a bug here, or a client that does not keep to the API
            self.memory.broken.append(f"{method} {self.path}: {error!r}")
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "{}")

    def _let_in(self) -> None:
        expected = self.memory.token
        if expected is not None and self.headers.get("authorization") != f"Bearer {expected}":
            raise RefusalError(HTTPStatus.UNAUTHORIZED, "Request header error: there is no valid token")

    def _route(self, method: str, body: bytes) -> Any:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        content = self._content(body)
        self.memory.requests.append((method, url.path, content))
        for (wanted, pattern), answer in _ROUTES.items():
            match = re.fullmatch(f"{_PROXY}/apis/v2beta1/{pattern}", url.path)
            if match and wanted == method:
                return answer(self.memory, *match.groups(), query, content)
        raise RefusalError(HTTPStatus.NOT_FOUND, "Not Found")

    def _content(self, body: bytes) -> Any:
        """The body: JSON, or the file of a form."""
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/"):
            return json.loads(body) if body else None
        form = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
        assert isinstance(form, email.message.EmailMessage)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        return part.get_content()

    def _send(self, status: HTTPStatus, body: str, content_type: str = "application/json") -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _healthz(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    return api.V2beta1GetHealthzResponse(multi_user=state.multi_user, pipeline_store="database")


def _create_pipeline(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    pipeline = parsed(body, "V2beta1Pipeline")
    if any(p.name == pipeline.name and p.namespace == pipeline.namespace for p in state.pipelines.values()):
        raise RefusalError(HTTPStatus.CONFLICT, f"The name {pipeline.name} already exist. Please specify a new name.")
    pipeline.pipeline_id, pipeline.created_at = new_id(), now()
    state.pipelines[pipeline.pipeline_id] = pipeline
    return pipeline


def _list_pipelines(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    # Pipelines without a namespace are shared, so that it is not asked for.
    wanted = query.get("namespace")
    found = [pipeline for pipeline in state.pipelines.values() if pipeline.namespace == wanted]
    return _pages(found, query, api.V2beta1ListPipelinesResponse, "pipelines")


def _upload_version(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    documents = list(yaml.load_all(body, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    assert documents[0]["schemaVersion"] == "2.1.0"
    spec = dict(zip(("pipeline_spec", "platform_spec"), documents, strict=False)) if documents[1:] else documents[0]
    pipeline = _get(state.pipelines, query["pipelineid"], "Pipeline")
    others = [version for version in state.versions.values() if version.pipeline_id == pipeline.pipeline_id]
    if any(version.name == query["name"] for version in others):
        raise RefusalError(HTTPStatus.CONFLICT, f"The name {query['name']} already exist. Please specify a new name.")
    version = api.V2beta1PipelineVersion(
        pipeline_id=pipeline.pipeline_id,
        pipeline_version_id=new_id(),
        name=query["name"],
        display_name=query.get("display_name", query["name"]),
        created_at=now(),
        pipeline_spec=spec,
    )
    state.versions[version.pipeline_version_id] = version
    return version


def _list_versions(state: KfpApi, pipeline_id: str, query: Mapping[str, str], body: Any) -> Any:
    found = [version for version in state.versions.values() if version.pipeline_id == pipeline_id]
    return _pages(found, query, api.V2beta1ListPipelineVersionsResponse, "pipeline_versions")


def _get_version(state: KfpApi, pipeline_id: str, version_id: str, query: Mapping[str, str], body: Any) -> Any:
    return _get(state.versions, version_id, "PipelineVersion")


def _create_experiment(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    experiment = parsed(body, "V2beta1Experiment")
    experiment.experiment_id, experiment.created_at = new_id(), now()
    state.experiments[experiment.experiment_id] = experiment
    return experiment


def _list_experiments(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    found = _in_namespace(state, state.experiments, query)
    return _pages(found, query, api.V2beta1ListExperimentsResponse, "experiments")


def _create_run(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    run = parsed(body, "V2beta1Run")
    _get(state.experiments, run.experiment_id, "Experiment")
    _pinned(state, run.pipeline_version_reference, run.runtime_config.parameters)
    run.run_id, run.created_at, run.state = new_id(), now(), "PENDING"
    run.finished_at = datetime.fromtimestamp(0, UTC)  # as Kubeflow says that it has not
    state.runs[run.run_id] = run
    return run


def _list_runs(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    if state.multi_user and not query.get("namespace"):
        raise RefusalError(HTTPStatus.BAD_REQUEST, "Invalid input error: namespace is empty in multi-user mode")
    return _pages(list(state.runs.values()), query, api.V2beta1ListRunsResponse, "runs")


def _get_run(state: KfpApi, run_id: str, query: Mapping[str, str], body: Any) -> Any:
    run = _get(state.runs, run_id, "Run")
    state.on_look(run)
    return run


def _create_recurring_run(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    # A 64-bit number may travel as a number or as text.
    recurring = parsed({**body, "max_concurrency": str(body["max_concurrency"])}, "V2beta1RecurringRun")
    _get(state.experiments, recurring.experiment_id, "Experiment")
    _pinned(state, recurring.pipeline_version_reference, recurring.runtime_config.parameters)
    if not 1 <= int(recurring.max_concurrency) <= 10:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "The max concurrency must be at least 1 and at most 10")
    # Kubeflow's parser takes five fields as well, and means something else by them.
    if len(recurring.trigger.cron_schedule.cron.split()) not in (5, 6):
        raise RefusalError(HTTPStatus.BAD_REQUEST, "Schedule cron is not a valid format")
    recurring.recurring_run_id, recurring.created_at = new_id(), now()
    recurring.status = "ENABLED" if recurring.mode == "ENABLE" else "DISABLED"
    recurring.namespace = state.experiments[recurring.experiment_id].namespace
    state.recurring_runs[recurring.recurring_run_id] = recurring
    return recurring


def _list_recurring_runs(state: KfpApi, query: Mapping[str, str], body: Any) -> Any:
    found = _in_namespace(state, state.recurring_runs, query)
    return _pages(found, query, api.V2beta1ListRecurringRunsResponse, "recurring_runs")


def _switch_recurring_run(state: KfpApi, key: str, verb: str, query: Mapping[str, str], body: Any) -> None:
    _get(state.recurring_runs, key, "Job").status = {"enable": "ENABLED", "disable": "DISABLED"}[verb]


def _delete_recurring_run(state: KfpApi, key: str, query: Mapping[str, str], body: Any) -> None:
    _get(state.recurring_runs, key, "Job")
    del state.recurring_runs[key]


_ID = "([^/:]+)"
#: What stands before the path where the way leads through the API server of Kubernetes.
_PROXY = "(?:/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/)?"
_ROUTES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("GET", "healthz"): _healthz,
    ("POST", "pipelines"): _create_pipeline,
    ("GET", "pipelines"): _list_pipelines,
    ("POST", "pipelines/upload_version"): _upload_version,
    ("GET", f"pipelines/{_ID}/versions"): _list_versions,
    ("GET", f"pipelines/{_ID}/versions/{_ID}"): _get_version,
    ("POST", "experiments"): _create_experiment,
    ("GET", "experiments"): _list_experiments,
    ("POST", "runs"): _create_run,
    ("GET", "runs"): _list_runs,
    ("GET", f"runs/{_ID}"): _get_run,
    ("POST", "recurringruns"): _create_recurring_run,
    ("GET", "recurringruns"): _list_recurring_runs,
    ("POST", f"recurringruns/{_ID}:(enable|disable)"): _switch_recurring_run,
    ("DELETE", f"recurringruns/{_ID}"): _delete_recurring_run,
}
