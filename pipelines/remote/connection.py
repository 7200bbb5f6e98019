"""The way to Kubeflow Pipelines: where it is, who we are, and its refusals as sentences."""

import base64
import binascii
import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import kfp
import urllib3
from kfp_server_api import ApiException, Configuration

from shapley_core.errors import UserError

T = TypeVar("T")

#: Seconds a server has to take a connection, and then to answer; it is asked twice.
TIMES = (3.0, 30.0)


class UnreachableError(UserError):
    """Kubeflow Pipelines does not answer, or not with an answer of its own: it may pass."""


class AbsentError(UserError):
    """There is nothing of that name or number."""


class ConflictError(UserError):
    """There is something of that name already."""


@dataclass(frozen=True)
class Connection:
    """Where Kubeflow Pipelines is and who asks; what is empty comes from kubectl's and Kubeflow's own configuration."""

    host: str = ""
    namespace: str = ""
    token: str = field(default="", repr=False)
    ca_file: Path | None = None

    @classmethod
    def of_files(
        cls, host: str, namespace: str, token: str, token_file: Path | None, ca_file: Path | None
    ) -> "Connection":
        """The connection with a token from a file, or else from ``token``.

        Raises:
            UserError: a file cannot be read, or what should be a token is none.
        """
        if token_file is not None:
            try:
                token = token_file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"cannot read the token in {token_file}: give a text file with the token alone"
                ) from error
        token = token.strip()
        if not token.isascii() or any(character.isspace() for character in token):
            raise UserError("the token must be one word of letters, digits and signs")
        if ca_file is not None and not ca_file.is_file():
            raise UserError(f"there is no certificate file {ca_file}; give a PEM file with --ca-file")
        # What stands behind a # is a page of the UI.
        return cls(host.partition("#")[0], namespace, token, ca_file)


class _Client(kfp.Client):
    """Kubeflow's own client, which asks once whether there is a server, instead of five times with a trace each.

    Args:
        found: called with the server's address, before anything is asked of it.
        options: see :class:`kfp.Client`.
    """

    def __init__(self, found: Callable[[str], None], **options: Any) -> None:
        self._found = found
        super().__init__(**options)

    def _load_config(self, *arguments: Any) -> Configuration:
        config = super()._load_config(*arguments)
        host, refresh = config.host, config.refresh_api_key_hook
        if self._uihost is None and host == Configuration().host:
            raise UserError(
                "no address of Kubeflow Pipelines: give --host, set KF_PIPELINES_ENDPOINT, or set up kubectl"
            )

        def refresh_token_alone(config: Configuration) -> None:
            # With a token from kubectl's configuration, it puts the address of Kubernetes in place of Kubeflow's, and
            # itself in place of this.
            refresh(config)
            config.host, config.refresh_api_key_hook = host, refresh_token_alone

        if refresh is not None:
            config.refresh_api_key_hook = refresh_token_alone
        config.retries = urllib3.Retry(1)
        self._found(host)
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """See :class:`kfp.Client`."""
        # Asked before anything else: from now on no request waits for ever, as they do with Kubeflow's client.
        rest = self._healthz_api.api_client.rest_client

        def request_in_time(*arguments: Any, **named: Any) -> Any:
            return type(rest).request(rest, *arguments, **named | {"_request_timeout": TIMES})

        rest.request = request_in_time
        return self._healthz_api.healthz_service_get_healthz()

    def content_type(self) -> str:
        """What kind of text the last answer was."""
        return str(self._healthz_api.api_client.last_response.getheader("content-type", ""))

    def page_address(self, page: str) -> str:
        """The address of a page of the Kubeflow Pipelines UI."""
        return f"{self._get_url_prefix()}/#/{page}"


class Cluster:
    """Kubeflow Pipelines, asked by its own client.

    Raises:
        UserError: there is no server, or it does not let us in.
    """

    def __init__(self, connection: Connection) -> None:
        self._token = connection.token
        self.host = connection.host
        try:
            with self._errors_told():
                self.client = _Client(
                    self._found,
                    host=connection.host or None,
                    existing_token=connection.token or None,
                    ssl_ca_cert=str(connection.ca_file) if connection.ca_file else None,
                )
            self.ask(self.client.get_kfp_healthz)
        except AbsentError as error:
            raise UserError(
                f"{self.host} is not the address of Kubeflow Pipelines (404). Check --host; behind Kubeflow's "
                "dashboard it ends in /pipeline"
            ) from error
        #: None where nobody named one: then the server has no namespaces, or tells which may be asked.
        self.namespace: str | None = connection.namespace or self.client.get_user_namespace() or None

    def ask(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a method of the client.

        Raises:
            UnreachableError: nobody answers, or a server in between.
            AbsentError: what was asked for does not exist.
            ConflictError: what should be made is there already.
            UserError: the server refuses, with the reason.
        """
        with self._errors_told():
            answer = question(*arguments, **named)
        # The client takes a web page for an empty answer.
        if "json" not in self.client.content_type():
            raise UserError(
                f"{self.host} answers with a web page instead of data, perhaps its login: give a valid token with "
                "--token-file or KF_PIPELINES_TOKEN, and the address of Kubeflow Pipelines with --host"
            )
        return answer

    def all_pages(self, listing: Callable[..., Any], of: str, **named: Any) -> list[Any]:
        """Everything that a listing of the client has under the name ``of``, page after page."""
        items: list[Any] = []
        token = ""
        while True:
            page = self.ask(listing, page_token=token, page_size=100, **named)
            items += getattr(page, of) or []
            token = page.next_page_token
            if not token:
                return items

    def _found(self, host: str) -> None:
        self.host = host

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Turns refusals into sentences, and keeps to itself what Kubeflow's client prints."""
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except ApiException as error:
                raise self._refused(error) from error
            except urllib3.exceptions.HTTPError as error:
                raise self._unreached(error) from error

    def _unreached(self, error: urllib3.exceptions.HTTPError) -> UserError:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, urllib3.exceptions.SSLError):
            return UserError(
                f"cannot trust {self.host}: {reason}. Give the certificate of who signed its own with --ca-file, and "
                "https:// only where the server speaks it"
            )
        if isinstance(error, urllib3.exceptions.LocationParseError | urllib3.exceptions.LocationValueError):
            return UserError(f"'{self.host}' is no address: give one like https://kubeflow.example.org/pipeline")
        return UnreachableError(
            f"cannot reach Kubeflow Pipelines at {self.host}: {_in_short(reason)}. Check --host, that the server runs, "
            "and where the way to it is a kubectl port-forward, that it is still open"
        )

    def _refused(self, error: ApiException) -> UserError:
        said = _message(error.body)
        if error.status == 401:
            return UserError(
                f"{self.host} does not take the token{_expiry(self._token)} (401). Get a new one, and give it with "
                "--token-file or KF_PIPELINES_TOKEN"
            )
        if error.status == 403:
            where = f" in the namespace {self.namespace}" if getattr(self, "namespace", None) else ""
            return UserError(f"{self.host} does not let you do this{where} (403: {said}). Ask for the right to")
        if error.status == 404:
            return AbsentError(f"{self.host} has no such thing (404: {said})")
        if error.status == 409:
            return ConflictError(f"{self.host} has that already (409: {said})")
        if error.status >= 500:
            return UnreachableError(f"Kubeflow Pipelines at {self.host} fails ({error.status}: {said})")
        return UserError(f"{self.host} refuses ({error.status}: {said})")


def _in_short(reason: BaseException) -> str:
    """What urllib3 says went wrong, without the object it went wrong in."""
    return str(reason).rpartition("): ")[2].rpartition(">: ")[2] or type(reason).__name__


def _message(body: str | bytes | None) -> str:
    """What the server said of its refusal: its own words where it answered in JSON."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or "no reason given"
    try:
        told = json.loads(text)
        return str(told.get("message") or told.get("error_message") or told.get("error") or text)
    except (ValueError, AttributeError):
        return "no reason given" if "<" in text else " ".join(text.split())[:200]


def _expiry(token: str) -> str:
    """When a token that tells it (a JSON Web Token, RFC 7519) has expired; empty where it has not or does not tell."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expired = datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, binascii.Error):
        return ""
    return f": it expired at {expired:%Y-%m-%d %H:%M} UTC" if expired < datetime.now(UTC) else ""
