"""The way to Kubeflow Pipelines: where it is, who we are, and its refusals as sentences."""

import base64
import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


class Token:
    """The bearer token: a text, or a file that is read anew for each request, because others renew it.

    Raises:
        UserError: the file cannot be read, or what should be a token is none.
    """

    def __init__(self, text: str, file: Path | None) -> None:
        self._text = text
        self._file = file
        self.read()

    def read(self) -> str:
        """The token as it is now; empty where there is none."""
        try:
            token = (self._file.read_text() if self._file else self._text).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the token in {self._file}: give a text file with the token alone") from error
        if not token.isascii() or any(character.isspace() for character in token):
            raise UserError("the token must be one word of letters, digits and signs")
        return token

    def expiry(self) -> datetime | None:
        """When it expires, if it is one that tells (a JSON Web Token, RFC 7519)."""
        try:
            payload = self.read().split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return datetime.fromtimestamp(claims["exp"], UTC)
        except (IndexError, ValueError, KeyError, TypeError, OverflowError):
            return None


@dataclass(frozen=True)
class Connection:
    """Where Kubeflow Pipelines is and who asks; what is empty comes from kubectl's and Kubeflow's own configuration."""

    host: str
    namespace: str
    token: Token
    ca_file: Path | None

    def __post_init__(self) -> None:
        if self.ca_file is not None and not self.ca_file.is_file():
            raise UserError(f"there is no certificate file {self.ca_file}; give a PEM file with --ca-file")


class _Client(kfp.Client):
    """Kubeflow's own client, which asks once whether there is a server, instead of five times with a trace each.

    Args:
        connection: where it is.
        found: called with the server's address, before anything is asked of it.
    """

    def __init__(self, connection: Connection, found: Callable[[str], None]) -> None:
        self._token = connection.token
        self._found = found
        super().__init__(
            # What stands behind a # is a page of the UI.
            host=connection.host.partition("#")[0] or None,
            ssl_ca_cert=str(connection.ca_file) if connection.ca_file else None,
        )

    def _load_config(self, *arguments: Any) -> Configuration:
        config = super()._load_config(*arguments)
        if self._uihost is None and config.host == Configuration().host:
            raise UserError(
                "no address of Kubeflow Pipelines: give --host, set KF_PIPELINES_ENDPOINT, or set up kubectl"
            )
        config.retries = urllib3.Retry(1)
        host, renew = config.host, config.refresh_api_key_hook

        def renew_token(config: Configuration) -> None:
            if token := self._token.read():
                config.api_key["authorization"], config.api_key_prefix["authorization"] = token, "Bearer"
            elif renew is not None:
                renew(config)
            # Asked for the token, kubectl's configuration also puts the address of Kubernetes in place of Kubeflow's,
            # and its own hook in place of this one.
            config.host, config.refresh_api_key_hook = host, renew_token

        renew_token(config)
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
                self.client = _Client(connection, self._found)
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
            expiry = self._token.expiry()
            is_over = expiry is not None and expiry < datetime.now(UTC)
            why = f": it expired at {expiry:%Y-%m-%d %H:%M} UTC" if is_over else ""
            return UserError(
                f"{self.host} does not take the token{why} (401). Get a new one, and give it with --token-file or "
                "KF_PIPELINES_TOKEN"
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
