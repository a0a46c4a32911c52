#!/usr/bin/env python3
"""A test double for the `jobs` process and the front: keeps pointers, counters and ends in one JSON
file, hands out job ids, stores submissions and passes everything else to the JobManager. It exists
to try the Java side against real Flink processes by itself.

double.py STATE_DIR HA_PORT FRONT_PORT JM_REST_PORT
Files in STATE_DIR: state.json (survives a restart), calls.jsonl (every call), behave (the answer
of the HA side to calls whose path holds a text, such as "503 checkpoints/").
"""
import http.client
import http.server
import json
import os
import re
import sys
import threading
import time
import uuid

STATE, HA, FRONT, JM = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
LOCK = threading.RLock()
STATE_FILE = os.path.join(STATE, "state.json")
try:
    KEPT = json.load(open(STATE_FILE))
except FileNotFoundError:
    KEPT = {"jobs": {}, "calls": {}}


def note(**what):
    with LOCK, open(os.path.join(STATE, "calls.jsonl"), "a") as log:
        log.write(json.dumps({"at": round(time.time(), 3), **what}) + "\n")


def save():
    with open(STATE_FILE + ".new", "w") as file:
        json.dump(KEPT, file)
    os.replace(STATE_FILE + ".new", STATE_FILE)


def job(job_id):
    return KEPT["jobs"].setdefault(job_id, {"ended": None, "clean": False, "checkpoints": {}, "next": 1})


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.serve()

    do_PUT = do_POST = do_DELETE = do_PATCH = do_GET


class Jobs(Http):
    def serve(self):
        body = json.loads(self.body() or b"{}")
        behave = os.path.join(STATE, "behave")
        status, _, text = open(behave).read().strip().partition(" ") if os.path.exists(behave) else ("", "", "")
        if status and text in self.path:
            note(side="ha", method=self.command, path=self.path, status=status)
            return self.answer(int(status), {"reason": "SUPERSEDED", "message": "made up by the test double"})
        assert self.headers["authorization"] == "Bearer secret", self.headers
        with LOCK:
            note(side="ha", method=self.command, path=self.path, body=body)
            _, _, _, job_id, *rest = self.path.split("/")
            kept = job(job_id)
            match (self.command, rest):
                case ("GET", []):
                    checkpoints = [{"id": int(i), **c} for i, c in kept["checkpoints"].items()]
                    checkpoints.sort(key=lambda c: c["id"])
                    ended = kept["ended"] is not None
                    return self.answer(200, {"ended": ended, "checkpoints": checkpoints, "next_checkpoint_id": kept["next"]})
                case ("PUT", ["checkpoints", i]):
                    kept["checkpoints"][i] = body
                case ("DELETE", ["checkpoints", i]):
                    kept["checkpoints"].pop(i, None)
                case ("PUT", ["next-checkpoint-id"]):
                    kept["next"] = max(kept["next"], body["next"])
                case ("PUT", ["end"]):
                    kept["ended"] = body
                case ("PUT", ["clean"]):
                    kept["clean"] = True
                case _:
                    return self.answer(400, {"reason": "UNKNOWN", "message": self.path})
            save()
            self.answer(200, {})


class Front(Http):
    def serve(self):
        body = self.body()
        if self.path == "/mainspring/v1/jobs":
            with LOCK:
                asked = json.loads(body)
                job_id = KEPT["calls"].setdefault(asked["call_id"], uuid.uuid4().hex)
                job(job_id)["name"] = asked["name"]
                save()
                note(side="front", reserve=asked["name"], job=job_id, plan_bytes=len(asked["plan"]), plan=json.loads(asked["plan"]))
                return self.answer(200, {"job_id": job_id})
        if self.command == "POST" and re.fullmatch(r"(/v1)?/jobs", self.path):
            job_id = re.search(rb'filename="flink-executionPlan-([0-9a-f]{32})', body).group(1).decode()
            with LOCK:
                assert job_id in KEPT["jobs"], "the plan's job id was not reserved"
                open(os.path.join(STATE, job_id + ".plan"), "wb").write(body)
                open(os.path.join(STATE, job_id + ".type"), "w").write(self.headers["content-type"])
        status, kind, data = forward(self.command, self.path, body, self.headers.get("content-type"))
        note(side="front", method=self.command, path=self.path, status=status, bytes=len(body),
             auth=self.headers.get("authorization"))
        self.answer(status, data, kind)


def forward(method, path, body, kind):
    try:
        jm = http.client.HTTPConnection("127.0.0.1", JM, timeout=60)
        jm.request(method, path, body, {"content-type": kind} if kind else {})
        answer = jm.getresponse()
        return answer.status, answer.headers.get("content-type", "application/json"), answer.read()
    except OSError as gone:
        return 503, "application/json", json.dumps({"errors": [str(gone)]}).encode()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    threading.Thread(target=Server(("127.0.0.1", HA), Jobs).serve_forever, daemon=True).start()
    Server(("127.0.0.1", FRONT), Front).serve_forever()
