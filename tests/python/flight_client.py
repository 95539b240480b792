"""What a plain Arrow Flight client can do at a node. Reads a case (JSON) from standard input:

    {"address": "127.0.0.1:PORT", "name": NODE, "ca": FILE,
     "identity": {"certificate": FILE, "key": FILE} or null, "ask": TEXT}

tries every call, and writes what came of each: {"list_flights": [...]} or {"error": MESSAGE}.
"""

import json
import sys

import pyarrow as pa
from pyarrow import flight


def main():
    case = json.load(sys.stdin)
    client = connect(case)
    ask = case["ask"].encode()
    batch = pa.record_batch({"x": [1]})
    command = flight.FlightDescriptor.for_command(ask)
    calls = {
        "list_flights": lambda: [
            json.loads(info.app_metadata) for info in client.list_flights(options=deadline())
        ],
        "get_flight_info": lambda: client.get_flight_info(command, deadline()).serialize().hex(),
        "get_schema": lambda: client.get_schema(command, deadline()).schema.to_string(),
        "do_get": lambda: client.do_get(flight.Ticket(ask), deadline()).read_all().to_pylist(),
        "offer": lambda: act(client, "ward.template.offer", b'{"v": 2, "source": "id = 1"}'),
        "status": lambda: act(client, "ward.status", b""),
        "do_put": lambda: put(client, command, batch),
        "do_exchange": lambda: exchange(client, command, batch),
        "handshake": lambda: client.authenticate_basic_token(b"ada", b"secret", deadline()),
    }
    json.dump({name: outcome(call) for name, call in calls.items()}, sys.stdout)


def connect(case):
    options = {"tls_root_certs": read(case["ca"]), "override_hostname": case["name"]}
    if case["identity"]:
        options["cert_chain"] = read(case["identity"]["certificate"])
        options["private_key"] = read(case["identity"]["key"])
    return flight.connect(f"grpc+tls://{case['address']}", **options)


def deadline():
    return flight.FlightCallOptions(timeout=20)


def read(file):
    with open(file, "rb") as content:
        return content.read()


def act(client, name, body):
    results = client.do_action(flight.Action(name, body), deadline())
    return [result.body.to_pybytes().decode() for result in results]


def put(client, command, batch):
    writer, reader = client.do_put(command, batch.schema, deadline())
    with writer:
        writer.write_batch(batch)
        writer.done_writing()
        return reader.read() is None


def exchange(client, command, batch):
    writer, reader = client.do_exchange(command, deadline())
    with writer:
        writer.begin(batch.schema)
        writer.write_batch(batch)
        writer.done_writing()
        return reader.read_all().num_rows


def outcome(call):
    try:
        return {"done": call()}
    except Exception as error:  # whatever pyarrow makes of a refusal
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
