"""An OTLP receiver: takes spans over HTTP and writes each as a line of JSON, after one with its port.

Decodes with the messages that OpenTelemetry publishes. The first argument says how many requests are first answered
503; a second one names a file to which the bodies of all requests are appended, as they came.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

refusals = int(sys.argv[1])
kept = open(sys.argv[2], "ab", buffering=0) if len(sys.argv) > 2 else None


def plain(attributes):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


def lines(request, path, headers):
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "to": path,
                    "headers": headers,
                    "resource": plain(of_resource.resource.attributes),
                    "scope": of_scope.scope.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "nanos": [span.start_time_unix_nano, span.end_time_unix_nano],
                    "attributes": plain(span.attributes),
                    "status": Status.StatusCode.Name(span.status.code),
                }


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global refusals
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if kept:
            kept.write(body)
        if refusals:
            refusals -= 1
            status, answer = 503, b""
        else:
            request = ExportTraceServiceRequest.FromString(body)
            assert self.headers["Content-Type"] == "application/x-protobuf"
            headers = {name.lower(): value for name, value in self.headers.items()}
            for line in lines(request, self.path, headers):
                print(json.dumps(line), flush=True)
            status, answer = 200, ExportTraceServiceResponse().SerializeToString()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Collector)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
