"""Whether lines of standard input are what OpenTelemetry's file exporter writes, read by OpenTelemetry's own messages.

A member that they do not have is an error. Prints for each log record: event name, severity, `log.record.uid`, the id
that the body gives, the model.
"""

import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData, SeverityNumber

for line in sys.stdin:
    request = json_format.Parse(line, ExportLogsServiceRequest())
    # What a file has is called otherwise than what is sent, and is the same.
    assert json_format.Parse(line, LogsData()).SerializeToString() == request.SerializeToString()
    (resource,) = request.resource_logs
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "interceptor" and names["host.name"], names
    (scope,) = resource.scope_logs
    for record in scope.log_records:
        attributes = {a.key: a.value for a in record.attributes}
        body = json.loads(record.body.string_value)
        severity = SeverityNumber.Name(record.severity_number)
        assert severity == "SEVERITY_NUMBER_" + record.severity_text and record.time_unix_nano > 1e18
        model = attributes["gen_ai.request.model"].string_value if "gen_ai.request.model" in attributes else "-"
        tokens = attributes["gen_ai.usage.input_tokens"].int_value if "gen_ai.usage.input_tokens" in attributes else "-"
        uid = attributes["log.record.uid"].string_value
        assert uid == body.get("id", uid)
        print(record.event_name, record.severity_text, model, tokens)
