"""Settings: read once, checked whole, frozen, and passed on section by section.

Every key, its unit, default and reason is documented in `default_config.toml`, which `dopq config write` copies; a test
holds that file and these classes together.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dopq.errors import BadConfig, OperatorError
from dopq.utils.files import make_public_folder

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
TimeLimit = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]  # far beyond, a deadline would leave the calendar
Days = Annotated[int, Field(ge=0, le=36_500)]
"""0: for ever."""
BaseImage = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]
"""Name of an image, in which `{version}` stands for the version."""
PYTHON_VERSION = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$"
Port = Annotated[int, Field(ge=0, le=65535)]
MOST_SLOTS = 16
"""Into how many slots a GPU can be parted."""
NODE_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
HOST_NAME = r"[0-9A-Za-z_.-]{1,253}"
"""Also an IPv4 address. Names of machines may have an underscore, whatever RFC 1123 says."""
IPV6 = r"[0-9A-Fa-f:.]{2,45}"
Host = Annotated[str, Field(pattern=rf"^({HOST_NAME}|{IPV6})$")]
"""An address, or the name of one."""


SEED = rf"{HOST_NAME}|{IPV6}|({HOST_NAME}|\[{IPV6}\]):[0-9]{{1,5}}"
"""Where another node may be: an address or name, with a port or without."""


class Section(BaseModel):
    """A frozen table of the settings file that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NodeSettings(Section):
    """Who this node is and where it keeps things. Relative folders are taken from the settings file's own folder."""

    name: str = Field(default="", max_length=63, pattern=rf"^({NODE_NAME})?$")
    state: str = "state"
    share: str = "share"
    data: str = ""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    log_json: bool = False


def _is_this_machine_only(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RemoteSettings(Section):
    """The remote-object API."""

    host: Host = "127.0.0.1"
    port: Port = 9090
    nameserver: str = Field(default="", pattern=rf"^(({HOST_NAME}|\[{IPV6}\]):[0-9]{{1,5}})?$")
    max_connections: Count = 200
    max_connections_per_address: Count = 64
    calls_per_s: Positive = 500.0
    socket: str = ""
    tls: bool = False
    token_days: Annotated[int, Field(ge=1, le=3650)] = 90

    @model_validator(mode="after")
    def _no_secret_crosses_the_network_in_the_clear(self) -> Self:
        if not self.tls and not _is_this_machine_only(self.host):
            raise PydanticCustomError(
                "tls_needed",
                "`dopq serve` refuses to listen beyond localhost without TLS: with remote.host = {host}, make "
                "certificates with `dopq cert init` and set remote.tls = true",
                {"host": self.host},
            )
        return self


class EngineSettings(Section):
    """The container engine."""

    url: str = ""


class IntakeSettings(Section):
    """Taking bundles from the share."""

    settle_s: Positive = 0.2
    poll_fast_s: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    poll_slow_s: Annotated[float, Field(gt=0, le=1.0)] = 0.15
    max_bundle_bytes: Count = 20 * 2**30
    max_unpacked_bytes: Count = 50 * 2**30
    max_entries: Count = 100_000


class ShareSettings(Section):
    """How long the share keeps what is over, and by what it tells users apart."""

    keep_invalid_days: Days = 90
    keep_failed_days: Days = 90
    keep_outbox_days: Days = 0
    identity: Literal["owner", "folder"] = "owner"


class DiskSettings(Section):
    """What has to stay free on the disks of the state folder, the share and the engine, on each of them."""

    floor_bytes: Annotated[int, Field(ge=0)] = 2 * 2**30
    floor_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0


class BuildSettings(Section):
    """Making images."""

    concurrency: Count = 2
    timeout_s: Positive = 3600.0
    memory_bytes: Annotated[int, Field(ge=0)] = 0
    max_image_bytes: Count = 50 * 2**30
    keep_images_days: Days = 30
    allowed_bases: list[str] = ["*"]
    templates: str = ""


class PythonTemplate(Section):
    """The template for projects in Python."""

    base: BaseImage = "python:{version}-slim"
    version: str = Field(default="3.11", pattern=PYTHON_VERSION)


class OctaveTemplate(Section):
    """The template for projects in Octave."""

    base: BaseImage = "gnuoctave/octave:{version}"
    version: str = "9.2.0"


class MatlabTemplate(Section):
    """The template for projects in MATLAB."""

    base: BaseImage = "mathworks/matlab:{version}"
    version: str = "r2024b"
    license_server: str = Field(default="", pattern=r"^[!-~]*$")


class TemplatesSettings(Section):
    """What projects without a Dockerfile are built on."""

    m_files: Literal["octave", "matlab"] = "octave"
    python: PythonTemplate = PythonTemplate()
    octave: OctaveTemplate = OctaveTemplate()
    matlab: MatlabTemplate = MatlabTemplate()


class QueueSettings(Section):
    """Order and limits."""

    half_life_s: Positive = 7 * 86400.0
    cpu_job_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    max_running: Annotated[int, Field(ge=0)] = 0
    max_time_limit_s: TimeLimit = 14 * 86400
    default_time_limit_s: TimeLimit = 14 * 86400
    policy: Literal["fairshare", "recency", "fifo"] = "fairshare"
    overdue_s: Positive = 14 * 86400.0
    max_gpus_per_user: Annotated[int, Field(ge=0)] = 0
    max_jobs_per_user: Annotated[int, Field(ge=0)] = 0
    max_early_failures: Annotated[int, Field(ge=0)] = 5


class GpuSettings(Section):
    """Which GPUs this node hands out, and what they count."""

    devices: Annotated[str, Field(pattern=r"^(all|none|simulate:[0-9]{1,3})$")] | list[str] = "all"
    default_gpus: Annotated[int, Field(ge=-1)] = -1
    slots_per_gpu: Annotated[int, Field(ge=1, le=MOST_SLOTS)] = 1
    weights: dict[Annotated[str, Field(min_length=1)], Positive] = {}
    foreign: Literal["spare", "ignore"] = "spare"
    idle_minutes: Annotated[int, Field(ge=0)] = 60
    idle_policy: Literal["warn", "end"] = "warn"
    overrun_policy: Literal["warn", "end"] = "warn"


class ContainerSettings(Section):
    """How jobs run."""

    network: str = Field(default="bridge", pattern="^(none|bridge|dopq-[a-z0-9-]+)$")
    memory_bytes: Annotated[int, Field(ge=0)] = 0
    shm_bytes: Annotated[int, Field(ge=0)] = 0
    user: str = Field(default="auto", pattern="^(auto|[0-9]{1,10}:[0-9]{1,10}|)$")
    pids_limit: Count = 4096
    ready_namespaces: Annotated[int, Field(ge=0, le=64)] = 2
    stop_grace_s: Annotated[int, Field(ge=0)] = 10


class PeersSettings(Section):
    """Other nodes of the lab."""

    seeds: list[Annotated[str, Field(pattern=f"^({SEED})$")]] = []
    networks: list[str] = []
    addresses: list[str] = []
    port: Port = 0
    round_s: Annotated[float, Field(ge=1, le=3600)] = 5.0
    heartbeat_s: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    forget_days: Annotated[int, Field(ge=1, le=3650)] = 7

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, given: list[str]) -> list[str]:
        for network in given:
            ip_network(network)  # its ValueError says what is wrong
        return given

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, given: list[str]) -> list[str]:
        return [str(ip_address(address)) for address in given]


class Settings(Section):
    """The whole settings file."""

    node: NodeSettings = NodeSettings()
    remote: RemoteSettings = RemoteSettings()
    engine: EngineSettings = EngineSettings()
    intake: IntakeSettings = IntakeSettings()
    share: ShareSettings = ShareSettings()
    disk: DiskSettings = DiskSettings()
    build: BuildSettings = BuildSettings()
    templates: TemplatesSettings = TemplatesSettings()
    queue: QueueSettings = QueueSettings()
    gpu: GpuSettings = GpuSettings()
    container: ContainerSettings = ContainerSettings()
    peers: PeersSettings = PeersSettings()


class Paths:
    """Where a node keeps what: one place that knows the layout of its two folders.

    The state folder is private to the service. The share is what users see, over the network or on the machine.
    """

    def __init__(self, root: Path, node: NodeSettings) -> None:
        self.root = root
        self.state = (root / node.state).absolute()
        self.share = (root / node.share).absolute()
        self.data = (root / node.data).absolute() if node.data else None
        self.journal = self.state / "journal.sqlite3"
        self.audit = self.state / "audit.jsonl"
        self.lock = self.state / "node.lock"
        self.share_mark = self.state / "share.id"
        self.node_file = self.state / "node.json"
        self.certificates = self.state / "certificates"
        self.peers = self.state / "peers"
        self.container_key = self.state / "containers.key"
        self.spool = self.state / "spool"
        self.uploads = self.state / "uploads"
        self.jobs = self.state / "jobs"
        self.cache = self.state / "cache"
        self.inbox = self.share / "inbox"
        self.outbox = self.share / "outbox"
        self.invalid = self.share / "invalid"
        self.failed = self.share / "failed"

    def make(self) -> None:
        """Create the folders that are missing; the state folder readable by the service alone.

        Those of the share only as long as it bears no mark (share.py): later their absence means that it is away.

        Raises:
            OperatorError: there is a journal already, but no outbox: most likely the share is not mounted.
        """
        for above in (*reversed(self.state.parents), *reversed(self.share.parents)):
            make_public_folder(above)
        for private in (self.state, self.spool, self.uploads, self.jobs, self.cache, self.peers):
            private.mkdir(mode=0o700, exist_ok=True)
        if self.share_mark.exists():
            return
        if self.journal.exists() and not self.outbox.is_dir():  # below a bare mount point nobody would find results
            raise OperatorError(
                f"The share {self.share} is away: it has no outbox, but this node has a journal.",
                f"Mount it. If it is meant to be a new one: mkdir -p {self.outbox}",
            )
        for shared in (self.share, self.inbox, self.outbox, self.invalid, self.failed):
            make_public_folder(shared)


def load(path: Path) -> tuple[Settings, Paths]:
    """Read and check a settings file.

    Raises:
        BadConfig: missing, not TOML, or wrong; `details["problems"]` has every problem as `[where, what]`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"There is no settings file at {path}.", f"Write one with: dopq config write {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"The settings file {path} cannot be read: {error}.", "Mend it, or write a new one.") from error
    settings = parse(table, str(path))
    return settings, Paths(path.absolute().parent, settings.node)


def parse(table: Mapping[str, Any], origin: str) -> Settings:
    """Check a table of settings; `origin` names it in errors. Raises `BadConfig` with every problem at once."""
    try:
        return Settings.model_validate(dict(table))
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False)]
        listed = "; ".join(f"{where}: {what}" for where, what in problems)
        raise BadConfig(
            f"The settings in {origin} are wrong: {listed}.",
            "`dopq config show` prints every key with its meaning.",
            problems=problems,
        ) from error


def default_text() -> str:
    """The commented settings file with every key at its default."""
    return (Path(__file__).parent / "default_config.toml").read_text(encoding="utf-8")


def with_changes(text: str, changes: Iterable[str]) -> str:
    """A settings file with some values replaced, its comments kept.

    Args:
        changes: `section.key=value`; the value is written as TOML, or taken as text where it is none.

    Raises:
        BadConfig: a change is malformed, names no known key, or makes the settings wrong.
    """
    lines = text.removesuffix("\n").split("\n")  # not splitlines(), for which more than TOML's newline ends a line
    for change in changes:
        key, equals, value = change.partition("=")
        section, dot, name = key.strip().rpartition(".")
        if not equals or not dot:
            raise BadConfig(f"{change!r} is no setting.", "Write section.key=value, for example node.name=lab1.")
        number = _line_of(lines, section, name)
        lines[number] = f"{name} = {_as_toml(value.strip())}{_comment_of(lines[number])}"
    changed = "\n".join(lines) + "\n"
    try:
        table = tomllib.loads(changed)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"The changed settings are no TOML: {error}.", "Change this key with an editor.") from error
    parse(table, "the new file")
    return changed


def _line_of(lines: list[str], section: str, name: str) -> int:
    inside = False
    for number, line in enumerate(lines):
        if line.startswith("["):
            inside = line.strip() == f"[{section}]"
        elif inside and line.split("=")[0].strip() == name:
            return number
    raise BadConfig(f"There is no setting {section}.{name}.", "`dopq config show` prints every key.")


def _comment_of(line: str) -> str:
    """The comment at the end of a line with a key, with the space before it; a `#` inside a text begins none."""
    for end, character in enumerate(line):
        if character == "#" and _is_toml(line[:end]):
            return line[len(line[:end].rstrip()) :]
    return ""


def _as_toml(value: str) -> str:
    if "\n" not in value and _is_toml(f"value = {value}"):
        return value
    # Such a JSON string is a TOML basic string, but for one character that TOML alone wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def node_name(settings: NodeSettings) -> str:
    """The configured name of the node, or the machine's own."""
    return settings.name or os.uname().nodename.split(".")[0].lower()[:63]


def _problem(item: Any) -> tuple[str, str]:
    path = [str(part) for part in item["loc"]]
    where = ".".join(path)
    if item["type"] != "extra_forbidden":
        return where, f"{item['msg'][0].lower()}{item['msg'][1:]}"
    near = difflib.get_close_matches(path[-1], _known(path[:-1]), n=1, cutoff=0.5)
    return where, "unknown key" + (f", did you mean {near[0]!r}?" if near else "")


def _known(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return [str(a) for a in get_args(annotation)]
        model = annotation
    return list(model.model_fields)
