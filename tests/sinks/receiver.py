"""Receivers that the tests of the sinks start: webhook, Splunk HEC with acknowledgement, OTLP logs and metrics.

    receiver.py KIND PORT STORE TROUBLE [CERTIFICATES]

Each appends what it has taken to STORE, one id a line, before it says so. TROUBLE is the share of requests, 0 to 1, that
go wrong: a connection is dropped before or after the events are stored, an answer comes late, is 503, or an
acknowledgement is lost. What is not valid is answered 400 and noted in STORE.bad, which fails the test. With CERTIFICATES, a
directory, it speaks TLS and takes nothing from who has none of its CA's.
"""

import hashlib
import hmac
import json
import os
import random
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KIND, PORT, STORE, TROUBLE = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
SECRET = b"0123456789abcdef0123456789abcdef"
TOKEN = "11111111-2222-3333-4444-555555555555"
POISON = "poison"
# Once such an event has come alone, so many requests are refused, whatever they hold.
SHUTS = "poison that shuts"
SHUT = 10
shut = None

lock = threading.Lock()
acks = {}
store = open(STORE, "a")


def keep(ids):
    with lock:
        store.write("".join(f"{i}\n" for i in ids))
        store.flush()
        os.fsync(store.fileno())


def bad(why):
    with open(STORE + ".bad", "a") as file:
        file.write(why + "\n")


class Invalid(Exception):
    """The request is not what it should be."""


class Poisoned(Exception):
    """The request has an event that this receiver does not like."""


def id_of(event):
    if "alert" in event:
        return "alert-" + event["alert"]["key"]
    if "note" in event:
        # A start signs what the killed process had not.
        return f"note-{event['note']['content']['event']}-{event['note']['sequence']}"
    return "checkpoint" if "checkpoint" in event else event["id"]


def webhook(headers, body):
    stamp, signature = headers["x-interceptor-timestamp"], headers["x-interceptor-signature"]
    expected = "sha256=" + hmac.new(SECRET, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, expected) or abs(time.time() - int(stamp)) > 60:
        raise Invalid("signature")
    if len(headers["idempotency-key"]) != 32:
        raise Invalid("idempotency-key")
    global shut
    with lock:
        if shut is None and SHUTS.encode() in body and body.count(b"\n") == 1:
            shut = SHUT
        elif shut:
            shut -= 1
            raise Poisoned()
    if POISON.encode() in body:
        raise Poisoned()
    return [id_of(json.loads(line)) for line in body.decode().splitlines()]


def hec(headers, body):
    if headers["authorization"] != "Splunk " + TOKEN or not headers["x-splunk-request-channel"]:
        raise Invalid("token or channel")
    text, decoder, ids, at = body.decode(), json.JSONDecoder(), [], 0
    while at < len(text):
        event, at = decoder.raw_decode(text, at)
        float(event["time"])
        if event["fields"]["interceptor_kind"] == "record":
            assert event["event"]["id"] == event["fields"]["interceptor_id"]
        ids.append(id_of(event["event"]))
    return ids


def otlp(headers, body):
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    if headers["content-type"] != "application/x-protobuf":
        raise Invalid("content-type")
    request, ids = ExportLogsServiceRequest(), []
    request.ParseFromString(body)
    for resource in request.resource_logs:
        names = {a.key: a.value.string_value for a in resource.resource.attributes}
        if names["service.name"] != "interceptor":
            raise Invalid("service.name")
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {a.key: a.value for a in record.attributes}
                event = json.loads(record.body.string_value)
                ids.append(id_of(event))
                if "alert" in event:
                    assert record.event_name == "interceptor.alert", record.event_name
                    assert attributes["log.record.uid"].string_value == event["alert"]["id"]
                if "id" not in event:
                    continue
                if attributes["log.record.uid"].string_value != event["id"]:
                    raise Invalid("log.record.uid")
                if attributes["gen_ai.request.model"].string_value != event["request"]["model"]:
                    raise Invalid("gen_ai.request.model")
                if attributes["gen_ai.operation.name"].string_value != "chat":
                    raise Invalid("gen_ai.operation.name")
    return ids


def otlp_metrics(headers, body):
    """A line for each value: its name, its attributes, and the value; of a histogram its count."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

    if headers["content-type"] != "application/x-protobuf":
        raise Invalid("content-type")
    request, lines = ExportMetricsServiceRequest(), []
    request.ParseFromString(body)
    for resource in request.resource_metrics:
        names = {a.key: a.value.string_value for a in resource.resource.attributes}
        if names["service.name"] != "interceptor" or not names["host.name"]:
            raise Invalid("service.name or host.name")
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            data = getattr(metric, kind)
            if kind != "gauge" and data.aggregation_temporality != AGGREGATION_TEMPORALITY_CUMULATIVE:
                raise Invalid(f"{metric.name}: temporality")
            if kind == "sum" and not data.is_monotonic:
                raise Invalid(f"{metric.name}: is_monotonic")
            for point in data.data_points:
                labels = ",".join(f'{a.key}="{a.value.string_value}"' for a in point.attributes)
                if kind == "histogram":
                    if sum(point.bucket_counts) != point.count:
                        raise Invalid(f"{metric.name}: buckets")
                    value = point.count
                else:
                    value = getattr(point, point.WhichOneof("value"))
                if point.start_time_unix_nano > point.time_unix_nano:
                    raise Invalid(f"{metric.name}: times")
                lines.append(f"{metric.name}{{{labels}}} {value}")
    return lines


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        body = json.dumps(document).encode() if not KIND.startswith("otlp") else b""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender was killed in the middle of it.
            self.close_connection = True
            return
        trouble = random.choice(["drop", "503", "late", "stored", "lost ack"]) if random.random() < TROUBLE else None
        if trouble == "drop":
            self.close_connection = True
            return
        if trouble == "503":
            self.answer(503, {"text": "busy", "code": 9})
            return
        if trouble == "late":
            time.sleep(random.random() / 3)
        if self.path == "/services/collector/ack":
            asked = json.loads(body)["acks"]
            with lock:
                self.answer(200, {"acks": {str(i): acks.get(i, False) for i in asked}})
            return
        try:
            ids = {"webhook": webhook, "hec": hec, "otlp": otlp, "otlp-metrics": otlp_metrics}[KIND](self.headers, body)
        except Poisoned:
            self.answer(400, {"text": "poisoned", "code": 6})
            return
        except Exception as why:
            bad(f"{self.path}: {why!r}")
            self.answer(400, {"text": "invalid", "code": 6})
            return
        keep(ids)
        if trouble == "stored":
            self.close_connection = True
            return
        answer = {"text": "Success", "code": 0}
        if KIND == "hec":
            with lock:
                answer["ackId"] = len(acks)
                acks[len(acks)] = trouble != "lost ack"
        self.answer(200, answer)


class Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Clients are killed, and some have no certificate.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", PORT), Handler)
if len(sys.argv) > 5:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=sys.argv[5] + "/ca.pem")
    context.load_cert_chain(sys.argv[5] + "/server.pem", sys.argv[5] + "/server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    # The thread of the connection shakes hands, so that nobody waits for a client that does not.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
