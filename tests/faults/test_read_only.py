"""MLflow's own users (`--app-name basic-auth`): one may read a team's experiments, and not write to them."""

import shutil

import pytest
import requests
from mlflow.tracking.client import MlflowClient

from interfero.cli.doctor.services import check_tracking
from interfero.errors import TrackingError
from interfero.tracking.tracker import Tracker
from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests import object_store
from tests.unit.tracking.test_server_away import Server

MISSING = object_store.missing("flask_wtf")
pytestmark = [pytest.mark.timeout(2400), pytest.mark.skipif(bool(MISSING), reason=MISSING)]
PASSWORD = "long-enough-4711"


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    """Whose experiments everybody may read and nobody but their makers write to; with two users."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n"
        f"admin_username = admin\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # A password is looked at for a long time, on purpose.
        "auth_cache_ttl_seconds = 60\n"
    )
    environment = object_store.with_servers(
        MLFLOW_AUTH_CONFIG_PATH=str(config), MLFLOW_FLASK_SERVER_SECRET_KEY="of-this-test"
    )
    server = Server(folder, environment=environment, options=("--app-name", "basic-auth"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            log_in(patch, "admin", server)
            server.start()
        for user in ("ann", "guest"):
            ask_admin(server, "2.0/mlflow/users/create", username=user, password=PASSWORD)
        yield server
    finally:
        server.kill()


def ask_admin(server, what, **fields):
    """One request to the server, as its administrator."""
    answer = requests.post(
        f"{server.uri}/api/{what}", json=fields, auth=("admin", PASSWORD), timeout=60
    )
    assert answer.ok, answer.text


def log_in(patch, user, server):
    patch.setenv("MLFLOW_TRACKING_URI", server.uri)
    patch.setenv("MLFLOW_TRACKING_USERNAME", user)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def finished(folder, name):
    """A sweep without cells, by the user of the environment."""
    outbox = folder / name / "outbox.jsonl"
    tracker = Tracker.open(None, CAPACITY.kind, name, tags={}, params={}, outbox=outbox)
    assert tracker.close("FINISHED") == 0


def test_a_user_who_may_only_read_is_told_before_a_sweep(
    server, make_workplace, monkeypatch, tmp_path
):
    """By the doctor and by a sweep, until the experiment's owner lets that user write."""
    # A machine that does something else answers late.
    for name in ("CHECK_S", "_WRITE_S"):
        monkeypatch.setattr(f"interfero.tracking.address.{name}", 60)
    log_in(monkeypatch, "guest", server)
    found = check_tracking()
    assert found.ok, "whoever logs in may make experiments"
    assert "answers, and this user may write" in found.found
    log_in(monkeypatch, "ann", server)
    finished(tmp_path, "of-ann")
    assert check_tracking().ok

    log_in(monkeypatch, "guest", server)
    found = check_tracking()
    assert not found.ok
    place = make_workplace("guest", untracked=True)
    place.tracking_uri = server.uri
    with pytest.raises(TrackingError) as caught:
        place.called(CAPACITY, "--name", "of-guest")
    for said in (found.found, str(caught.value)):
        assert f"the tracking server at {server.uri} must let this user write" in said
        assert "of MLflow's own users: EDIT on this experiment" in said
        assert PASSWORD not in said
        assert "Permission denied" in said
    assert f"it does not: {CAPACITY.kind}: " in found.found
    assert not (place.sweep("of-guest") / "sweep.json").exists()

    experiment = MlflowClient(server.uri).get_experiment_by_name(CAPACITY.kind)
    ask_admin(
        server, "3.0/mlflow/users/permissions/grant", username="guest", permission="EDIT",
        resource_type="experiment", resource_id=experiment.experiment_id,
    )  # fmt: skip
    assert check_tracking().ok
    finished(tmp_path, "of-guest")
