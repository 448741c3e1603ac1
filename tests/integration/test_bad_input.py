"""What cannot be run ends with exit code 2 and one screen of text, before anything is trained."""

import os
import re
import time

import pytest
from PIL import Image

from interfero.engine.sweep import main
from sweeps.adapter_capacity import SWEEP


@pytest.fixture
def refused(tmp_path, tiny_codec_file, image_folder, other_image_folder, monkeypatch, capsys):
    """Run the default sweep with changes; returns the message after checking what holds for all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("INTERFERO_DATA", raising=False)
    monkeypatch.setattr("interfero.engine.sweep._drive", never)
    good = {
        "--source": [tiny_codec_file],
        "--domains": [f"thing={image_folder}"],
        "--source-domain": [f"other={other_image_folder}"],
        "--num-steps": [4],
    }

    def run(*flags, **changes):
        given = good | {f"--{k.replace('_', '-')}": v for k, v in changes.items()}
        arguments = [str(a) for k, values in given.items() for a in (k, *values)] + list(flags)
        with pytest.raises(SystemExit) as ended:
            main(SWEEP, arguments)
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert 0 < len(err.splitlines()) < 25
        assert "Traceback" not in out + err
        assert not list(tmp_path.rglob("*.safetensors"))
        assert not list(tmp_path.rglob("cells/*"))
        assert not list(tmp_path.rglob("sweep.json")), "the name is still free"
        assert not (tmp_path / "mlflow.db").exists()
        # Without the panel's frame and line breaks.
        return " ".join(err.replace("│", " ").split())

    return run


def never(*_):
    pytest.fail("training was about to start")


def pictures(folder, count, size=(96, 96)):
    """Images that differ, of as many source images."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (i, 255 - i, 128)).save(folder / f"p{chr(97 + i)}.png")
    return folder


def test_an_unknown_domain_says_the_nearest(refused):
    message = refused(domains=["histolgy"])
    assert "'histolgy'" in message
    assert "did you mean 'histology'?" in message
    assert "histolgy=PATH" in message


def test_an_unknown_method_says_the_nearest(refused):
    assert "unknown method 'finetun': did you mean 'finetune'?" in refused(methods=["finetun"])


def test_an_unknown_codec_says_the_nearest(refused):
    message = refused(source=["mbt2018-meen"], lambdas=["0.013"])
    assert "unknown source codec 'mbt2018-meen'" in message
    assert "did you mean 'mbt2018-mean'?" in message


def test_a_lambda_without_weights_says_which_there_are(refused):
    message = refused(lambdas=["0.02"])
    assert "no weights for lambda 0.02" in message
    assert "known: 0.013" in message


def test_a_codec_file_that_is_damaged(refused, tmp_path):
    (tmp_path / "broken.bin").write_bytes(b"not a codec")
    assert "broken.bin is not a whole" in refused(source=[tmp_path / "broken.bin"])


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(domains=[f"thing={tmp_path / 'empty'}"])
    assert "no image in" in message
    assert ".png" in message


@pytest.mark.parametrize("kind", ["file", "missing", "link"])
def test_a_folder_that_is_none(refused, tmp_path, kind):
    path = tmp_path / kind
    if kind == "file":
        path.write_text("")
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    message = refused(domains=[f"thing={path}"])
    assert path.name in message
    assert "folder" in message
    assert ("is a link to" in message) == (kind == "link")


def test_many_corrupt_images_are_refused(refused, tmp_path):
    folder = pictures(tmp_path / "corrupt", 8)
    for name in ("pa.png", "pb.png", "pc.png"):
        (folder / name).write_bytes(b"no picture")
    message = refused(domains=[f"thing={folder}"])
    assert "3 of 8 images cannot be used" in message
    assert "pa.png" in message


def test_many_tiny_images_are_refused(refused, tmp_path):
    folder = pictures(tmp_path / "tiny", 8, size=(20, 20))
    message = refused(domains=[f"thing={folder}"])
    assert "8 of 8 images cannot be used" in message
    assert "64" in message


def test_hundreds_of_bad_images_still_fit_one_screen(refused, tmp_path):
    folder = tmp_path / "hundreds"
    folder.mkdir()
    for i in range(300):
        (folder / f"picture-with-a-rather-long-name-{i:03d}.png").write_bytes(b"no picture")
    assert "300 of 300" in refused(domains=[f"thing={folder}"])


def test_a_few_corrupt_images_are_skipped_and_counted(refused, tmp_path, capsys):
    folder = pictures(tmp_path / "few", 12)
    (folder / "pa.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as ended:
        main(SWEEP, ["--domains", f"thing={folder}", "--dry-run"])
    assert ended.value.code == 0
    assert "1 x skipped, the first: pa.png" in capsys.readouterr().out


def test_too_few_source_images(refused, tmp_path):
    message = refused(domains=[f"thing={pictures(tmp_path / 'two', 2)}"])
    assert "needs at least 3 source images" in message


def test_more_images_than_the_domain_has(refused):
    message = refused(num_images=["500"])
    assert re.search(r"has (\d) training crops .* asked for 500: ask for 1 to \1", message)


def test_a_tracking_server_that_is_not_there(refused, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    message = refused()
    assert "http://127.0.0.1:9" in message
    assert "MLFLOW_TRACKING_URI" in message
    assert time.monotonic() - started < 30, "ten seconds, on a busy machine"


def test_a_storage_path_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused(storage=[tmp_path / "file" / "below"])
    assert "cannot be made" in message
    assert "choose a --storage" in message


def test_resume_without_a_name(refused):
    assert "--resume needs --name" in refused("--resume")


def test_resume_of_what_is_not_there(refused, tmp_path):
    assert "there is no sweep 'nothing'" in refused("--resume", name=["nothing"])
    assert not (tmp_path / "interfero-storage").exists()


def test_a_name_that_is_taken(refused, tmp_path, capsys):
    folder = tmp_path / "interfero-storage" / "mine"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main(SWEEP, ["--name", "mine"])
    assert ended.value.code == 2
    assert "add --resume" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_name_of_what_sweeps_share(refused):
    assert "holds what sweeps share" in refused(name=["content"])


def test_one_name_twice(refused, image_folder, other_image_folder):
    message = refused(domains=[f"thing={image_folder}", f"thing={other_image_folder}"])
    assert "names one domain twice" in message


def test_more_cpus_than_there_are(refused, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    message = refused(cpus_per_trial=["999"], name=["mine"])
    assert "--cpus-per-trial must fit this machine: asked for 999" in message


def test_a_type_that_does_not_fit(refused):
    assert "--num-steps" in refused(num_steps=["many"])


def test_all_problems_are_said_at_once(refused):
    message = refused(num_steps=["0"], learning_rates=["2.0"], crop_size=["100"])
    assert all(flag in message for flag in ("--num-steps", "--learning-rates", "--crop-size"))
    message = refused(domains=["histolgy", "nowhere=/nowhere"], lambdas=["0.5"])
    assert all(said in message for said in ("histology", "/nowhere", "lambda 0.5"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_without_permission(refused, tmp_path):
    folder = pictures(tmp_path / "locked", 6)
    folder.chmod(0)
    assert "locked" in refused(domains=[f"thing={folder}"])
    folder.chmod(0o700)
