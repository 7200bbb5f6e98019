"""What bad input gets on the command line: one sentence and exit code 2, before any training, with nothing lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from command_line import CommandLine, Ended
from PIL import Image

from pipelines import local, servers
from pipelines.cli import main
from shapley_core.errors import UserError

ROOT = Path(__file__).parents[2]
#: What a run may change in its output folder before it has results: its lock, its log, its tasks' files.
OWN = {".lock", "run.log", ".work"}


class Shell(CommandLine):
    """The command line of runs in a folder."""

    def refusal(self, out: Path, *arguments: str | Path) -> str:
        """The sentence of a run that was refused, with everything in ``out`` as it was and nothing trained."""
        before = contents(out)
        ended = self("run", "--out", out, *arguments)
        assert ended.code == 2
        assert contents(out) == before
        assert tasks(out) <= {"prepare"}
        return ended.sentence


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line."""
    return Shell(capsys)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder with the results of an earlier run, and with files of the user's own."""
    return with_results(tmp_path / "out")


def with_results(folder: Path) -> Path:
    for name in ("values.json", "report.html", "store/0123/part.parquet", "work/thesis.txt", "cat.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the run's own, by its path."""
    paths = {path: path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for path, name in paths.items() if name.parts[0] not in OWN}


def tasks(out: Path) -> set[str]:
    """The tasks that the log of a run knows of."""
    log = out / "run.log"
    lines = log.read_text().splitlines() if log.is_file() else []
    return {line.split("'")[1] for line in lines if "Executing task '" in line}


def contribute(folder: Path, contributors: Sequence[str] = ("ada", "bob", "eve"), n_images: int = 3) -> Path:
    """A folder with a few noise images of each contributor."""
    noise = np.random.default_rng(0)
    for name in contributors:
        (folder / name).mkdir(parents=True)
        for i in range(n_images):
            pixels = noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def truncate(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-200])


# --- wrong settings: told before Kubeflow is even imported


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--preset", "digitz"], "there is no preset 'digitz'; did you mean 'digits'?"),
        (["--preset", "mine.yaml"], "there is no configuration file mine.yaml"),
        (["--set", "finetuning.stepz=5"], "there is no setting 'finetuning.stepz'; did you mean 'finetuning.steps'?"),
        (["--set", "data=5"], "there is no setting 'data'; did you mean 'data.path'?"),
        (["--set", "finetuning.steps"], "--set finetuning.steps: write KEY=VALUE"),
        (["--set", "=5"], "--set =5: write KEY=VALUE"),
        (["--set", "finetuning.steps=[1"], "--set finetuning.steps=[1: the value is not YAML"),
        (["--set", "seed=!!python/object/apply:os.getpid []"], "the value is not YAML"),
        (["--set", "finetuning.steps=many"], "finetuning.steps: Input should be a valid integer"),
        (["--set", "finetuning.steps=0", "--set", "game.confidence=95"], "finetuning.steps: Input should be greater"),
        (["--set", "run.experiment=2026-13-45"], "the value is not YAML"),
        (["--set", "training.learning_rate=.inf"], "training.learning_rate is inf: give a finite number"),
        (["--set", "description=!!binary aGk="], "description is b'hi': give a finite number, a word"),
        (["--seed", "-1"], "seed: Input should be greater than or equal to 0 (got -1)"),
        (["--set", "data.source=manifest"], "source 'manifest' needs data.path"),
        (["--set", "data.resolution=9"], "data.resolution 9 must be a multiple of 2"),
    ],
)
def test_wrong_setting(shell: Shell, out: Path, arguments: list[str], told: str) -> None:
    assert told in shell.refusal(out, *arguments)
    assert not tasks(out)


#: A name as Python gives it that was written in Latin-1, say; neither JSON nor Kubeflow takes it.
LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("option", ["--data", "--out", "--store", "--preset", "--tracking-uri"])
def test_place_that_is_not_utf8(shell: Shell, out: Path, tmp_path: Path, option: str) -> None:
    place = tmp_path / LATIN
    place.mkdir()
    if option == "--preset":
        place = place / "mine.yaml"
        preset = resources.files("shapley_core.presets") / "digits.yaml"
        place.write_bytes(preset.read_bytes())
    sentence = shell.refusal(out, option, place)
    assert "caf\\udce9" in sentence and "is not valid UTF-8" in sentence
    assert not tasks(out)


def test_relative_place_in_a_folder_that_is_not_utf8(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LATIN).mkdir()
    monkeypatch.chdir(tmp_path / LATIN)
    assert "--out is" in shell.refusal(Path("out"))
    assert not Path("out").exists()


@pytest.mark.parametrize("setting", [f"data.path={LATIN}", 'data.path="\\udce9"', f"run.experiment={LATIN}"])
def test_setting_that_is_not_utf8(out: Path, setting: str) -> None:
    ended = from_outside(out, "--set", "data.source=image_folder", "--set", setting)
    assert ended.code == 2
    assert "udce9" in ended.sentence
    assert not tasks(out)


@pytest.mark.parametrize("option", ["--store", "--data"])
def test_s3_address_with_keys(shell: Shell, out: Path, option: str) -> None:
    for address in ("s3://AKIA:a-secret@bucket/prefix", "s3://AKIA:a-secret/with-a-slash@bucket"):
        sentence = shell.refusal(out, option, address)
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in sentence and "secret" not in sentence
        assert not (out / "run.log").exists()


@pytest.mark.parametrize("how", ["option", "variable"])
def test_password_of_mlflow_is_no_argument_of_tasks(
    shell: Shell, out: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Kubeflow prints the arguments of its tasks, and what it prints stands in run.log."""
    address = "http://someone:a-secret@127.0.0.1:1"
    given: list[object] = []

    def stop(*arguments: object) -> NoReturn:
        given.extend(arguments)
        raise UserError("enough seen")

    monkeypatch.setattr(local, "run_pipeline", stop)
    if how == "option":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
        assert shell.refusal(out, "--tracking-uri", address) == "enough seen"
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert shell.refusal(out) == "enough seen"
    _, arguments, environment, *_ = given
    assert environment == {"MLFLOW_TRACKING_URI": address}
    assert "a-secret" not in str(arguments)


def test_what_is_no_valuation_is_not_evaluated(shell: Shell, tmp_path: Path) -> None:
    ended = shell("evaluate", "--valuation", tmp_path / "nothing")
    assert ended.code == 2
    assert ended.sentence.startswith(
        f"there is no finished valuation in {tmp_path / 'nothing'}: value the contributors"
    )
    assert not (tmp_path / "nothing").exists()
    ended = shell("evaluate", "--valuation", "s3://bucket/results")
    assert ended.code == 2 and "name a folder with --out, and its --store" in ended.sentence


def test_all_wrong_values_are_told_at_once(shell: Shell, out: Path) -> None:
    sentence = shell.refusal(out, "--set", "finetuning.steps=0", "--set", "game.confidence=95")
    assert "finetuning.steps" in sentence and "game.confidence" in sentence


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"data: [1", "mine.yaml is not YAML: while parsing"),
        (b"description: \xff", "mine.yaml is not YAML"),
        (b"", "mine.yaml must hold a mapping of settings"),
        (b"data: 5", "data must hold a mapping of settings (got 5)"),
        (b"colour: blue", "colour: Extra inputs are not permitted"),
    ],
)
def test_wrong_configuration_file(shell: Shell, out: Path, tmp_path: Path, content: bytes, told: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_bytes(content)
    assert told in shell.refusal(out, "--preset", config, "--data", tmp_path)


def test_wrong_setting_as_a_user_meets_it(out: Path) -> None:
    before = contents(out)
    ended = from_outside(out, "--set", "finetuning.stepz=5")
    assert ended.code == 2
    assert ended.sentence == "there is no setting 'finetuning.stepz'; did you mean 'finetuning.steps'?"
    assert ended.out == ""
    assert contents(out) == before


def from_outside(out: Path, *arguments: str | Path) -> Ended:
    command = [sys.executable, "-m", "pipelines", "run", "--out", out, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


# --- wrong data: found by the task "prepare", before anything is trained


def test_bad_images_as_a_user_meets_them(out: Path, tmp_path: Path) -> None:
    data = contribute(tmp_path / "data")
    truncate(data / "bob" / "1.png")
    (data / "eve" / "0.png").write_text("no image at all")
    before = contents(out)
    ended = from_outside(out, "--data", data)
    assert ended.code == 2
    assert "2 of 9 images cannot be read: 'bob/1.png' (" in ended.sentence
    assert "'eve/0.png' (not an image that Pillow can read)" in ended.sentence
    assert "--skip-bad-images" in ended.sentence
    assert contents(out) == before
    assert tasks(out) == {"prepare"}


def test_bad_images_are_skipped_when_asked(shell: Shell, out: Path, tmp_path: Path) -> None:
    data = contribute(tmp_path / "data")
    truncate(data / "bob" / "1.png")
    # The images are accepted: what is told is the next thing that is wrong.
    sentence = shell.refusal(out, "--data", data, "--skip-bad-images", "--set", "game.n_coalitions=1")
    assert "game.n_coalitions" in sentence and "png" not in sentence


def test_contributor_with_no_image_left(shell: Shell, out: Path, tmp_path: Path) -> None:
    data = contribute(tmp_path / "data", n_images=1)
    truncate(data / "eve" / "0.png")
    assert "no image of contributor 'eve' can be read" in shell.refusal(out, "--data", data, "--skip-bad-images")


@pytest.mark.parametrize(
    ("contributors", "empty", "told"),
    [
        (["ada"], [], "at least two contributors, but only 'ada' was found"),
        (["ada", "bob"], ["eve"], "contributor 'eve' in the folder"),
    ],
)
def test_too_little_data(
    shell: Shell, out: Path, tmp_path: Path, contributors: list[str], empty: list[str], told: str
) -> None:
    # A path that YAML would read as something else.
    data = tmp_path / "all: images #1"
    data.mkdir()
    contribute(data, contributors)
    for name in empty:
        (data / name).mkdir()
    sentence = shell.refusal(out, "--data", data)
    assert told in sentence and str(data) in sentence


def test_data_that_is_not_there(shell: Shell, out: Path, tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path / 'nowhere'}" in shell.refusal(out, "--data", tmp_path / "nowhere")


def test_manifest_without_a_column(shell: Shell, out: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "images.csv"
    manifest.write_text("path,artist\nada.png,ada\nbob.png,bob\n")
    sentence = shell.refusal(out, "--data", manifest)
    assert f"the manifest {manifest} must have exactly one column contributor" in sentence
    assert "'path', 'artist'" in sentence


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("property.name=inception_scores", "no property 'inception_scores'; did you mean 'inception_score'?"),
        ("game.design=pared", "there is no design 'pared'; did you mean 'paired'?"),
    ],
)
def test_unknown_name(shell: Shell, out: Path, setting: str, told: str) -> None:
    assert told in shell.refusal(out, "--set", setting)


@pytest.mark.parametrize(
    ("estimator", "design", "told"),
    [
        (
            "banzhaf_msr",
            "paired",
            "'banzhaf_msr' cannot use coalitions of the design 'paired': it needs one of uniform",
        ),
        ("kernel_shap", "uniform", "or choose an estimator that fits the design (banzhaf_msr, banzhaf_regression)"),
        ("exact", "paired", "'exact' needs all 1022 coalitions of 10 contributors"),
    ],
)
def test_estimator_that_does_not_fit_its_design(
    shell: Shell, out: Path, estimator: str, design: str, told: str
) -> None:
    sentence = shell.refusal(out, "--set", f"game.estimator={estimator}", "--set", f"game.design={design}")
    assert told in sentence


@pytest.mark.parametrize(
    ("n_coalitions", "told"),
    [
        # Ten contributors; each pair of complements says one thing about ten values whose sum is known.
        (8, "too few to value 10 contributors: the design 'paired' needs at least 20"),
        (1024, "10 contributors have 1022 coalitions besides the empty and the full one, fewer than"),
    ],
)
def test_wrong_number_of_coalitions(shell: Shell, out: Path, n_coalitions: int, told: str) -> None:
    sentence = shell.refusal(out, "--set", f"game.n_coalitions={n_coalitions}")
    assert told in sentence and f"{n_coalitions}" in sentence


# --- places that cannot be written to or reached


def mount(folder: Path, options: str) -> None:
    """Lay a file system in memory over ``folder``."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets us mount nothing: {mounted.stderr.strip()}")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be written to."""
    folder = tmp_path / "read only"
    if os.geteuid():  # permissions stop everybody but root
        folder.mkdir(mode=0o555)
        yield folder
        return
    mount(folder, "size=64k,ro")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 KiB, a twentieth of what the digits take."""
    folder = tmp_path / "small"
    mount(folder, "size=80k")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_read_only_output_folder(shell: Shell, read_only: Path) -> None:
    for folder in (read_only, read_only / "new"):
        sentence = shell.refusal(folder)
        assert f"cannot write at {folder}" in sentence and "choose another place with --out" in sentence


def test_read_only_store(shell: Shell, out: Path, read_only: Path) -> None:
    assert f"cannot write at {read_only}" in shell.refusal(out, "--store", read_only)


def test_full_disk(shell: Shell, small_disk: Path) -> None:
    out = with_results(small_disk / "out")
    sentence = shell.refusal(out)
    assert f"cannot write at {out}" in sentence and "the disk is full" in sentence
    assert shell("run", "--out", out, "--preset", "digitz").code == 2


def test_output_folder_that_is_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    for folder in (file, file / "new", file / "new" / "newer"):
        with pytest.raises(SystemExit, match="2"):
            main(["run", "--out", str(folder)])
    with pytest.raises(SystemExit, match="2"):
        main(["compile", "--out", str(file)])
    ended = shell("run", "--out", file / "new")
    *_, last = ended.err.splitlines()
    assert last == f"error: cannot make the folder {file / 'new'}: a file is in the way. Choose another with --out"
    assert file.read_text() == "mine"


@pytest.fixture
def wrong_key(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket whose server does not know the key we have."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    return s3_bucket


def test_s3_refuses(shell: Shell, out: Path, wrong_key: str) -> None:
    for option in ("--data", "--store"):
        sentence = shell.refusal(out, option, f"s3://{wrong_key}/valuations")
        assert f"cannot use s3://{wrong_key}/valuations" in sentence
        assert "refuses access (403" in sentence and "AWS_SECRET_ACCESS_KEY" in sentence


def test_s3_does_not_answer(shell: Shell, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{servers.free_ports(1)[0]}"
    for name, value in servers.S3Server(address).environment.items():
        monkeypatch.setenv(name, value)
    for option in ("--data", "--store"):
        sentence = shell.refusal(out, option, "s3://bucket/valuations")
        assert f"cannot reach s3://bucket/valuations: {address} does not answer" in sentence


def test_two_runs_in_one_folder(shell: Shell, out: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "run", "--out", out, "--store", tmp_path / "store"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as first:
        try:
            while not (out / "run.log").is_file():
                assert first.poll() is None
                time.sleep(0.05)
            assert f"another run is writing to {out}" in shell.refusal(out)
            assert first.poll() is None
        finally:
            os.killpg(first.pid, signal.SIGKILL)
    # The folder is free again, although the first run was killed.
    assert "game.n_coalitions" in shell.refusal(out, "--set", "game.n_coalitions=2")


# --- what is not the user's fault


def test_task_that_fails_by_a_bug(shell: Shell, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "packages" / "sklearn"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this installation is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    before = contents(out)
    ended = shell("run", "--out", out)
    assert ended.code == 1
    log = out / "run.log"
    assert ended.error.startswith(f"the task prepare failed unexpectedly; {log} ends with the reason.")
    assert "RuntimeError: this installation is broken" in "".join(log.read_text().splitlines()[-6:])
    assert contents(out) == before


# --- help


def test_help_reads_well(shell: Shell) -> None:
    bare = shell()
    assert bare.code == 2 and "Usage: python -m pipelines" in bare.out + bare.err
    for command, words in {
        (): ["run", "compile", "Value the contributors on this machine."],
        ("run",): [
            *("--preset", "--data", "--set KEY=VALUE", "--out", "--seed", "--skip-bad-images", "--store"),
            *("--tracking-uri", "[default: digits]", "report.html", "Run the same command again"),
        ],
        ("compile",): ["--out", "valuation.yaml", "[default: build]"],
    }.items():
        ended = shell(*command, "--help")
        assert ended.code == 0
        text = " ".join(ended.out.split())
        assert all(word in text for word in words)
        assert max(map(len, ended.out.splitlines())) <= 80


def test_misspelt_command_and_option(shell: Shell) -> None:
    for arguments, told in (
        (["runs"], "No such command 'runs'. Did you mean 'run'?"),
        (["run", "--prest", "digits"], "No such option: --prest"),
    ):
        ended = shell(*arguments)
        assert ended.code == 2
        assert told in ended.err and "Traceback" not in ended.err
