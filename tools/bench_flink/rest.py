"""What Flink's REST API says about the one job of a JobManager."""

import http.client
import json


def ask(address: str, path: str):
    """The answer to one GET; raises OSError without an answer, and ValueError without a success."""
    connection = http.client.HTTPConnection(address, timeout=15)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{path}: {answer.status}")
    return json.loads(body)


def job(address: str) -> str:
    """The id of the job that runs; empty if none does."""
    return next((job["id"] for job in ask(address, "/jobs")["jobs"] if job["status"] == "RUNNING"), "")


def is_running(address: str) -> bool:
    """Whether every task of the job runs."""
    vertices = ask(address, f"/jobs/{job(address)}")["vertices"]
    return bool(vertices) and all(vertex["tasks"]["RUNNING"] == vertex["parallelism"] for vertex in vertices)


def checkpoints(address: str) -> dict:
    """Flink's statistics of the job's checkpoints."""
    return ask(address, f"/jobs/{job(address)}/checkpoints")


def is_restored(address: str) -> bool:
    """Whether this JobManager restored the job, unlike the one before it that started the job."""
    return checkpoints(address)["latest"]["restored"] is not None


def restarts(address: str) -> int:
    """How often Flink has restarted the job in this cluster."""
    return int(float(ask(address, f"/jobs/{job(address)}/metrics?get=numRestarts")[0]["value"]))


def written(address: str) -> int:
    """How many records the source had sent on when Flink's metrics were last fetched."""
    source = ask(address, f"/jobs/{job(address)}")["vertices"][0]["metrics"]
    return source["write-records"]
