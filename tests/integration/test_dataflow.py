"""The local Dataflow service as a real process with real jobs, and the operator that keeps a job running
on it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from madhatter_provider.core.errors import ConfigurationError, JobError, TransientError
from madhatter_provider.core.job_plan import SPEC_LABEL
from madhatter_provider.core.operations.job_watermark import JobWatermark
from madhatter_provider.hooks.dataflow import MadhatterDataflowHook
from madhatter_provider.hooks.job_watermarks import job_watermarks
from madhatter_provider.local.process import free_port
from madhatter_provider.operators.dataflow import DataflowEnsureJobOperator

pytestmark = pytest.mark.integration

JOB = """
import json, os, signal, subprocess, sys, time
mode = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--mode=")), "stream")
mark = 1_790_000_000_250_000 if mode == "stream" else None
def report(state):
    path = os.environ["MADHATTER_JOB_METRICS"]
    told = {"counters": {"rows/valid": 7}, "watermark": mark, "state": state}
    open(path + ".part", "w").write(json.dumps(told))
    os.replace(path + ".part", path)
def drain(*_):
    report("DONE")
    sys.exit(0)
signal.signal(signal.SIGTERM, drain if mode != "stubborn" else signal.SIG_IGN)
if mode == "fail":
    sys.exit("the pipeline cannot be built: no such topic")
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("helper", helper.pid, flush=True)
report("RUNNING")
if mode == "batch":
    helper.kill()
    report("DONE")
    sys.exit(0)
time.sleep(600)
"""


class Service:
    """The service's process and a client."""

    def __init__(self, folder: Path) -> None:
        (folder / "job.py").write_text(JOB)
        command = ["{python}", str(folder / "job.py")]
        templates = {
            "gs://t/stream.json": {"command": command, "streaming": True},
            "gs://t/batch.json": {"command": [*command, "--mode=batch"]},
            "gs://t/missing.json": {"command": [str(folder / "no-such-program")]},
        }
        (folder / "templates.json").write_text(json.dumps(templates))
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=f"{self.url}/v1b3/projects/p/locations/l", timeout=10)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "madhatter_provider.local.dataflow", "--port", str(self.port),
                "--work-dir", str(self.folder / "work"), "--templates", str(self.folder / "templates.json"),
            ],
            stdout=(self.folder / "service.log").open("ab"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip

        def healthy() -> bool:
            try:
                return httpx.get(f"{self.url}/health").is_success
            except httpx.TransportError:
                return False

        wait_for(healthy)

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(40)

    def launch(self, name: str, template: str = "stream", **more: Any) -> dict[str, Any]:
        parameter = {"jobName": name, "containerSpecGcsPath": f"gs://t/{template}.json", **more}
        reply = self.http.post("/flexTemplates:launch", json={"launchParameter": parameter})
        return dict(reply.raise_for_status().json()["job"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/jobs/{job_id}").raise_for_status().json())

    def reach(self, job_id: str, state: str) -> dict[str, Any]:
        wait_for(
            lambda: self.job(job_id)["currentState"] == f"JOB_STATE_{state}",
            lambda: self.job(job_id)["currentState"],
        )
        return self.job(job_id)

    def ask(self, job_id: str, state: str) -> httpx.Response:
        return self.http.put(f"/jobs/{job_id}", json={"requestedState": f"JOB_STATE_{state}"})

    def process_of(self, job_id: str) -> psutil.Process:
        record = json.loads((self.folder / "work" / "jobs" / f"{job_id}.json").read_text())
        return psutil.Process(record["pid"])

    def helper_of(self, job_id: str) -> int:
        log = (self.folder / "work" / "logs" / f"{job_id}.log").read_text()
        return int(log.split()[1])


def wait_for(
    condition: Callable[[], bool], found: Callable[[], object] = lambda: "", seconds: float = 30
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached: {found()}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path)
    running.start()
    yield running
    assert running.process is not None
    if running.process.poll() is None:
        running.stop()


def test_a_batch_job_runs_to_its_end(service: Service) -> None:
    job = service.launch("nightly", "batch")
    assert service.reach(job["id"], "DONE")["type"] == "JOB_TYPE_BATCH"
    metrics = service.http.get(f"/jobs/{job['id']}/metrics").json()["metrics"]
    assert {(m["name"]["name"], m["scalar"]) for m in metrics} == {("valid", 7)}
    assert "jobs" not in service.http.get("/jobs", params={"filter": "ACTIVE"}).json()
    assert [j["id"] for j in service.http.get("/jobs", params={"filter": "TERMINATED"}).json()["jobs"]] == [
        job["id"]
    ]


def test_a_streaming_job_runs_until_it_is_drained_and_leaves_no_process(service: Service) -> None:
    job = service.launch("fraud", environment={"additionalUserLabels": {"team": "risk"}})
    assert service.reach(job["id"], "RUNNING")["labels"] == {"team": "risk"}
    helper = service.helper_of(job["id"])
    assert service.ask(job["id"], "DRAINED").json()["currentState"] == "JOB_STATE_DRAINING"
    service.reach(job["id"], "DRAINED")
    assert gone(helper)
    assert service.ask(job["id"], "CANCELLED").status_code == 400


def test_cancel_ends_a_job_that_does_not_listen(service: Service) -> None:
    job = service.launch("deaf", parameters={"mode": "stubborn"})
    service.reach(job["id"], "RUNNING")
    process, helper = service.process_of(job["id"]), service.helper_of(job["id"])
    service.ask(job["id"], "DRAINED")
    service.ask(job["id"], "CANCELLED")
    service.reach(job["id"], "CANCELLED")
    assert gone(process.pid)
    assert gone(helper)


def test_a_failed_job_says_why(service: Service) -> None:
    job = service.launch("broken", parameters={"mode": "fail"})
    service.reach(job["id"], "FAILED")
    messages = service.http.get(f"/jobs/{job['id']}/messages").json()["jobMessages"]
    assert "no such topic" in messages[-2]["messageText"]
    missing = service.launch("missing", "missing")
    service.reach(missing["id"], "FAILED")


def test_one_active_job_a_name_and_update_in_place(service: Service) -> None:
    old = service.launch("fraud")
    service.reach(old["id"], "RUNNING")
    again = service.http.post(
        "/flexTemplates:launch",
        json={"launchParameter": {"jobName": "fraud", "containerSpecGcsPath": "gs://t/stream.json"}},
    )
    assert (again.status_code, again.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    new = service.launch("fraud", update=True)
    assert new["replaceJobId"] == old["id"]
    service.reach(new["id"], "RUNNING")
    assert service.job(old["id"])["currentState"] == "JOB_STATE_UPDATED"
    assert service.job(old["id"])["replacedByJobId"] == new["id"]


@pytest.mark.parametrize(
    ("launch", "status"),
    [
        ({"jobName": "Bad_Name", "containerSpecGcsPath": "gs://t/stream.json"}, 400),
        ({"jobName": "x", "containerSpecGcsPath": "gs://t/none.json"}, 404),
        ({"jobName": "x", "containerSpecGcsPath": "gs://t/stream.json", "update": True}, 404),
        ({"jobName": "x", "containerSpecGcsPath": "gs://t/stream.json", "parameters": {"n": 1}}, 400),
    ],
)
def test_wrong_launches_are_refused_as_google_does(
    service: Service, launch: dict[str, Any], status: int
) -> None:
    reply = service.http.post("/flexTemplates:launch", json={"launchParameter": launch})
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == status
    assert service.http.get("/jobs/nonsense").status_code == 404


def test_a_killed_service_takes_its_jobs_over_again(service: Service) -> None:
    lives, dies = service.launch("lives"), service.launch("dies")
    for job in (lives, dies):
        service.reach(job["id"], "RUNNING")
    orphan = service.helper_of(dies["id"])
    service.stop(signal.SIGKILL)
    service.process_of(dies["id"]).kill()
    service.start()
    assert service.reach(dies["id"], "FAILED")
    wait_for(lambda: gone(orphan))
    assert service.job(lives["id"])["currentState"] == "JOB_STATE_RUNNING"
    service.ask(lives["id"], "DRAINED")
    service.reach(lives["id"], "DRAINED")


def test_a_job_that_ended_well_while_the_service_was_dead_is_done(service: Service) -> None:
    job = service.launch("fraud")
    service.reach(job["id"], "RUNNING")
    process = service.process_of(job["id"])
    service.stop(signal.SIGKILL)
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: gone(process.pid))
    service.start()
    service.reach(job["id"], "DONE")


def test_a_stopped_service_drains_its_jobs(service: Service) -> None:
    job = service.launch("fraud")
    service.reach(job["id"], "RUNNING")
    process, helper = service.process_of(job["id"]), service.helper_of(job["id"])
    service.stop()
    assert gone(process.pid)
    assert gone(helper)
    service.start()
    assert service.job(job["id"])["currentState"] == "JOB_STATE_DRAINED"


# The operator


class Notes:
    """A task instance's XComs and a task's state store, as far as the operator uses them."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.state: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def set(self, key: str, value: Any) -> None:
        self.state[key] = value


@pytest.fixture
def connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    extra = {"project": "p", "is_anonymous": True, "api_endpoint": service.url}
    value = json.dumps({"conn_type": "google_cloud_platform", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", value)
    return service


def ensure(notes: Notes | None = None, **changes: Any) -> str:
    """Run the operator in this process, waiting in place."""
    notes = notes or Notes()
    arguments = {
        "task_id": "ensure", "job_name": "fraud", "template": "gs://t/stream.json", "location": "l",
        "deferrable": False, "poll_seconds": 0.1, "wait_timeout": 30, **changes,
    }  # fmt: skip
    context: Any = {"ti": notes, "task_state_store": notes}
    return DataflowEnsureJobOperator(**arguments).execute(context)


def test_ensure_launches_once_and_adopts_afterwards(connection: Service) -> None:
    notes = Notes()
    job_id = ensure(notes, parameters={"a": "1"})
    assert connection.job(job_id)["currentState"] == "JOB_STATE_RUNNING"
    assert len(connection.job(job_id)["labels"][SPEC_LABEL]) == 16
    assert ensure(parameters={"a": "1"}) == job_id
    assert notes.xcoms == notes.state == {"dataflow_job_id": job_id}
    assert len(connection.http.get("/jobs").json()["jobs"]) == 1


def test_ensure_replaces_a_job_of_another_specification(connection: Service) -> None:
    first = ensure(parameters={"a": "1"})
    second = ensure(parameters={"a": "2"})
    assert connection.job(first)["currentState"] == "JOB_STATE_DRAINED"
    third = ensure(parameters={"a": "3"}, on_change="update")
    assert connection.job(second)["currentState"] == "JOB_STATE_UPDATED"
    assert connection.job(third)["currentState"] == "JOB_STATE_RUNNING"
    with pytest.raises(JobError, match="another specification"):
        ensure(parameters={"a": "4"}, on_change="fail")


def test_ensure_waits_for_a_job_that_is_being_drained(connection: Service) -> None:
    first = ensure()
    connection.ask(first, "DRAINED")
    second = ensure()
    assert second != first
    assert connection.job(second)["currentState"] == "JOB_STATE_RUNNING"


def test_ensure_starts_again_what_failed(connection: Service) -> None:
    first = ensure()
    connection.process_of(first).kill()
    connection.reach(first, "FAILED")
    assert ensure() != first


def test_ensure_says_what_is_wrong(connection: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="template"):
        ensure(template="gs://t/none.json")
    with pytest.raises(JobError, match="JOB_STATE_FAILED"):
        ensure(job_name="broken", parameters={"mode": "fail"}, wait_until="done")
    connection.stop()
    with pytest.raises(TransientError, match="did not answer"):
        ensure()
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps({"conn_type": "google_cloud_platform"})
    )
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(Exception, match=r"[Pp]roject|credentials"):
        ensure()


def test_killing_the_task_cancels_the_job_only_if_asked(connection: Service) -> None:
    for cancel in (False, True):
        operator = DataflowEnsureJobOperator(
            task_id="ensure", job_name="fraud", template="gs://t/stream.json", location="l",
            deferrable=False, poll_seconds=0.1, cancel_on_kill=cancel,
        )  # fmt: skip
        context: Any = {"ti": Notes()}
        job_id = operator.execute(context)
        assert operator.job_url.endswith(job_id)
        operator.on_kill()
        wanted = connection.job(job_id).get("requestedState")
        assert wanted == ("JOB_STATE_CANCELLED" if cancel else None)


def test_googles_own_hook_methods_work_on_the_same_connection(connection: Service) -> None:
    job_id = ensure()
    hook = MadhatterDataflowHook(location="l")
    assert hook.get_job(job_id=job_id, project_id="p", location="l")["name"] == "fraud"
    hook.cancel_job(job_id=job_id, project_id="p", location="l")
    connection.reach(job_id, "CANCELLED")


def test_a_jobs_watermark_is_told_while_there_is_one(
    connection: Service, caplog: pytest.LogCaptureFixture
) -> None:
    place = ("google_cloud_default", "l", "p")
    job_id = ensure()
    assert job_watermarks(["fraud", "absent"], *place) == [
        JobWatermark("fraud", job_id, datetime.fromtimestamp(1_790_000_000.25, UTC))
    ]
    assert "No watermark of absent: no active job" in caplog.text
    stubborn = ensure(job_name="quiet", parameters={"mode": "stubborn"})
    assert job_watermarks(["quiet"], *place) == []
    assert "No watermark of quiet: it tells none" in caplog.text
    connection.ask(stubborn, "CANCELLED")
    connection.stop()
    assert job_watermarks(["fraud"], *place) == []
    assert "did not answer" in caplog.text


def test_a_dag_defers_until_the_job_runs_and_replaces_it_when_it_changes(
    connection: Service, run_dag: Callable[..., Any]
) -> None:
    from airflow.sdk import DAG

    runs = []
    for version in ("1", "1", "2"):
        with DAG("stream_processing", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            DataflowEnsureJobOperator(
                task_id="ensure", job_name="fraud", template="gs://t/stream.json", location="l",
                parameters={"version": version}, poll_seconds=0.2,
            )  # fmt: skip
        run = run_dag(dag)
        assert run.state == "success"
        runs.append(connection.http.get("/jobs", params={"filter": "ACTIVE"}).json()["jobs"])
    first, second, third = ([job["id"] for job in jobs] for jobs in runs)
    assert first == second
    assert first != third
    assert connection.job(first[0])["currentState"] == "JOB_STATE_DRAINED"
