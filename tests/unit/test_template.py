"""Which template a project gets, what comes of it, and what of a licence is told to whom."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.bundle import Prepared, prepare
from dopq.container_handler.container import container_request
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.engine import ContainerRequest
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.container_handler.template import Templates
from dopq.errors import BundleRejected
from dopq.job import ImageId, Job, JobId, JobSpec, Lease, Queued, UserName, Work
from tests.bundles import zip_of

LICENSE = "27000@licences.example"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
Files = Mapping[str, str]


def take(tmp_path: Path, files: Files, *, folder: Path | None = None, **settings: Any) -> Prepared:
    tmp_path.mkdir(exist_ok=True)
    rules = Rules(
        SpecDefaults(gpus=0, max_time_limit_s=60),
        templates=Templates(TemplatesSettings.model_validate(settings), folder),
    )
    with zip_of(tmp_path / "b.zip", files).open("rb") as bundle:
        return prepare(bundle, tmp_path / "work", bundle_name="b.zip", default_name="b", user="ada", rules=rules)


def dockerfile(tmp_path: Path, files: Files, *, folder: Path | None = None, **settings: Any) -> list[str]:
    with tarfile.open(take(tmp_path, files, folder=folder, **settings).context) as tar:
        file = tar.extractfile("Dockerfile")
        assert file is not None
        return [line for line in file.read().decode().splitlines() if line and not line.startswith("#")]


def refused(tmp_path: Path, files: Files, **settings: Any) -> list[str]:
    with pytest.raises(BundleRejected) as caught:
        take(tmp_path, files, **settings)
    return [str(problem) for problem in problems_of(caught.value)]


# --- the three templates ----------------------------------------------------------------------------------------------


def test_an_m_file_alone_is_run_by_octave(tmp_path: Path) -> None:
    assert dockerfile(tmp_path, {"code/app.m": "1"}) == [
        "FROM gnuoctave/octave:9.2.0",
        "WORKDIR /app",
        "COPY . /app/",
        "ENTRYPOINT []",
        'CMD ["octave-cli", "--no-history", "--path", "/app/code", "/app/code/app.m"]',
    ]


def test_an_m_file_is_run_by_matlab_where_the_spec_says_so(tmp_path: Path) -> None:
    files = {"code/app.m": "1", "job.toml": 'template = "matlab"'}
    assert dockerfile(tmp_path, files) == [
        "FROM mathworks/matlab:r2024b",
        "WORKDIR /app",
        "COPY . /app/",
        "ENTRYPOINT []",
        """CMD ["matlab", "-batch", "run('/app/code/app.m')"]""",
    ]


def test_an_m_file_is_run_by_matlab_where_the_node_says_so(tmp_path: Path) -> None:
    assert dockerfile(tmp_path, {"app.m": "1"}, m_files="matlab")[0] == "FROM mathworks/matlab:r2024b"
    files = {"app.m": "1", "job.toml": 'template = "octave"'}
    assert dockerfile(tmp_path / "2", files, m_files="matlab")[0] == "FROM gnuoctave/octave:9.2.0"


@pytest.mark.parametrize("entry", ["code/app.m", "app.m", "main.m", "code.m"])
def test_each_place_of_an_m_file_is_run(tmp_path: Path, entry: str) -> None:
    assert dockerfile(tmp_path, {entry: "1"})[-1].endswith(f'"/app/{entry}"]')


def test_the_version_of_python_is_the_projects_choice(tmp_path: Path) -> None:
    files = {"code/app.py": "1", "job.toml": 'python = "3.12"'}
    assert dockerfile(tmp_path, files)[0] == "FROM python:3.12-slim"
    base = {"base": "lab/python:{version}-cuda", "version": "3.10"}
    assert dockerfile(tmp_path / "2", files, python=base)[0] == "FROM lab/python:3.12-cuda"
    assert dockerfile(tmp_path / "3", {"app.py": "1"}, python=base)[0] == "FROM lab/python:3.10-cuda"


def test_the_requirements_are_installed_before_the_code_is_copied(tmp_path: Path) -> None:
    lines = dockerfile(tmp_path, {"code/app.py": "1", "requirements.txt": "numpy==2.1.0"})
    install = next(number for number, line in enumerate(lines) if line.startswith("RUN python3 -m pip install"))
    assert lines.index("COPY requirements.txt /app/") < install < lines.index("COPY . /app/")


def test_the_template_that_was_used_stands_in_the_spec(tmp_path: Path) -> None:
    assert take(tmp_path / "1", {"code/app.m": "1"}).spec.template == "octave"
    assert take(tmp_path / "2", {"code/app.py": "1"}).spec.template == "python"
    assert take(tmp_path / "3", {"Dockerfile": "FROM x\n", "code/app.py": "1"}).spec.template is None


def test_input_is_never_in_the_build_context(tmp_path: Path) -> None:
    prepared = take(tmp_path, {"code/app.m": "1", "input/data.csv": "1,2"})
    with tarfile.open(prepared.context) as tar:
        assert not [name for name in tar.getnames() if name.startswith("input")]
    assert prepared.input is not None
    assert (prepared.input / "data.csv").read_text() == "1,2"


def test_an_admins_own_files_replace_ours_one_by_one(tmp_path: Path) -> None:
    own = tmp_path / "templates"
    (own / "python").mkdir(parents=True)
    (own / "python" / "requirements").write_text("RUN conda install\n")
    files = {"code/app.py": "1", "requirements.txt": "numpy"}
    lines = dockerfile(tmp_path / "1", files, folder=own)
    assert lines[0] == "FROM python:3.11-slim"
    assert "RUN conda install" in lines
    assert dockerfile(tmp_path / "2", {"app.m": ""}, folder=own)[0] == "FROM gnuoctave/octave:9.2.0"


# --- what cannot be had -----------------------------------------------------------------------------------------------


def test_a_project_in_two_languages_has_to_say_which(tmp_path: Path) -> None:
    files = {"code/app.py": "1", "code/app.m": "1"}
    [problem] = refused(tmp_path / "1", files)
    assert problem == (
        "bundle: there is a program in Python (code/app.py) and one in octave (code/app.m). "
        'Write template = "python" or template = "octave" into job.toml.'
    )
    chosen = dockerfile(tmp_path / "2", {**files, "job.toml": 'template = "octave"'})
    assert chosen[-1].startswith('CMD ["octave-cli"')


def test_a_template_without_its_program_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, {"app.py": "1", "job.toml": 'template = "octave"'}) == [
        "job.toml: template: there is no program for the template octave. Put it into the bundle as code/app.m."
    ]


def test_a_template_beside_a_dockerfile_is_refused(tmp_path: Path) -> None:
    spec = 'template = "python"\npython = "3.12"\n'
    assert refused(tmp_path, {"Dockerfile": "FROM x\n", "app.py": "1", "job.toml": spec}) == [
        f"job.toml: {key}: the bundle has a Dockerfile of its own, so no template is used. "
        "Leave the key out, or the Dockerfile."
        for key in ("template", "python")
    ]


def test_a_version_of_python_for_octave_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, {"app.m": "1", "job.toml": 'python = "3.12"'}) == [
        "job.toml: python: only the template python has a version of Python. Leave it out."
    ]


def test_a_version_that_the_node_cannot_give_is_refused(tmp_path: Path) -> None:
    files = {"app.py": "1", "job.toml": 'python = "3.12"'}
    only = {"base": "lab/torch:1", "version": "3.10"}
    assert refused(tmp_path / "1", files, python=only) == [
        'job.toml: python: this node has no choice of versions, only Python 3.10. Write "3.10", or leave it out.'
    ]
    same = {"app.py": "1", "job.toml": 'python = "3.10"'}
    assert dockerfile(tmp_path / "2", same, python=only)[0] == "FROM lab/torch:1"


# --- the licence ------------------------------------------------------------------------------------------------------


def request(template: str | None, environment: tuple[tuple[str, str], ...] = ()) -> ContainerRequest:
    spec = JobSpec(name="j", template=template, environment=environment)
    work = Work(spec, ImageId("sha256:1"), NOW)
    return container_request(
        Job(JobId(1), UserName("ada"), "b.zip", "key", "j", NOW, Queued(work)),
        work,
        Lease(1, frozenset(), NOW),
        node_id="n",
        folder=Path("/jobs/1"),
        data=None,
        settings=ContainerSettings(),
        templates=TemplatesSettings.model_validate({"matlab": {"license_server": LICENSE}}),
    )


def test_the_licence_server_is_told_to_matlab_jobs_when_they_run(tmp_path: Path) -> None:
    made = request("matlab")
    assert made.environment["MLM_LICENSE_FILE"] == LICENSE
    assert LICENSE not in str(made.labels)


@pytest.mark.parametrize("template", [None, "python", "octave"])
def test_the_licence_server_is_told_to_no_other_job(template: str | None) -> None:
    assert LICENSE not in repr(request(template))


def test_a_user_with_a_licence_of_their_own_may_use_it() -> None:
    own = request("matlab", (("MLM_LICENSE_FILE", "1@mine"),))
    assert own.environment["MLM_LICENSE_FILE"] == "1@mine"


def test_the_licence_server_is_nowhere_in_what_is_built(tmp_path: Path) -> None:
    files = {"code/app.m": "1", "job.toml": 'template = "matlab"'}
    prepared = take(tmp_path, files, matlab={"license_server": LICENSE})
    assert LICENSE.encode() not in prepared.context.read_bytes()
    assert LICENSE not in repr(prepared)
