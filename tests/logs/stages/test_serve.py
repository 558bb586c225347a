"""Existing clients against a running server."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tacit.cli.logs_serve import serve
from tacit.errors import TacitError

httpx = pytest.importorskip("httpx", reason="needs httpx")

from .conftest import TOKEN, Serving  # noqa: E402

Start = Callable[..., Serving]
AUTH = ("--token-file", "tokens")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SPLUNK = {"Authorization": f"Splunk {TOKEN}"}


def documents(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"user": f"user{n % 7}", "n": n, "message": f"user{n % 7} logged in", "extra": "left out"} for n in range(start, start + count)]


def bulk(*pairs: tuple[dict[str, Any], Any]) -> bytes:
    return b"".join(json.dumps(action).encode() + b"\n" + (b"" if document is None else json.dumps(document).encode() + b"\n")
                    for action, document in pairs)


# ------------------------------------------------------------------------------------------------------------------- _bulk


def test_elasticsearch_py_works_unchanged(serving: Start) -> None:
    elasticsearch = pytest.importorskip("elasticsearch", reason="needs elasticsearch-py")
    from elasticsearch.helpers import bulk as helper

    server = serving(*AUTH)
    key = base64.b64encode(f"shipper:{TOKEN}".encode()).decode()
    for settings in ({"bearer_auth": TOKEN}, {"basic_auth": ("shipper", TOKEN)}, {"api_key": key}):
        with elasticsearch.Elasticsearch(server.url, http_compress=True, **settings) as client:
            assert client.info()["version"]["number"]
            assert helper(client, documents(1_200), index="logs") == (1_200, [])
    events = server.events()
    assert [event["n"] for event in events] == list(range(1_200)) * 3
    assert all(event["user"].startswith("u-") and "extra" not in event and event["user"] in event["message"] for event in events)
    assert len({event["tacit.id"] for event in events}) == 1_200
    with elasticsearch.Elasticsearch(server.url, basic_auth=("shipper", "wrong" * 5)) as client, pytest.raises(elasticsearch.AuthenticationException):
        client.info()


def test_opensearch_py_works_unchanged(serving: Start) -> None:
    opensearchpy = pytest.importorskip("opensearchpy", reason="needs opensearch-py")
    server = serving(*AUTH)
    with opensearchpy.OpenSearch(server.url, http_auth=("shipper", TOKEN), http_compress=True) as client:
        assert client.info()["version"]["number"]
        assert opensearchpy.helpers.bulk(client, documents(700), index="logs") == (700, [])
    assert len(server.events()) == 700


def test_answers_item_by_item(serving: Start) -> None:
    server = serving()
    body = bulk(({"index": {"_id": "a"}}, {"n": 1}), ({"create": {"_index": "other"}}, {"n": 2}), ({"update": {"_id": "a"}}, {"doc": {"n": 3}}),
                ({"delete": {"_id": "a"}}, None), ({"index": {}}, [1]), ({"index": {}}, {"n": 4}))
    response = httpx.post(f"{server.url}/logs/_bulk", content=body)
    assert response.status_code == 200
    assert response.headers["X-Elastic-Product"] == "Elasticsearch"
    answer = response.json()
    assert answer["errors"] is True
    heads = [(action, item["_index"], item["status"]) for entry in answer["items"] for action, item in entry.items()]
    assert heads == [("index", "logs", 201), ("create", "other", 201), ("update", "logs", 400), ("delete", "logs", 400), ("index", "logs", 400),
                     ("index", "logs", 201)]
    assert answer["items"][0]["index"]["_id"] == "a"
    assert answer["items"][4]["index"]["error"] == {"type": "document_parsing_exception", "reason": "not an object"}
    assert [event["n"] for event in server.events()] == [1, 2, 4]
    assert server.events("dead-letters.jsonl")[0]["record"] == "[1]"


def test_the_senders_identifier_tells_equal_documents_apart(serving: Start) -> None:
    server = serving()
    one, other = ({"index": {"_index": "logs", "_id": name}} for name in "ab")
    for pairs in ([(one, {"n": 1}), (other, {"n": 1})], [(one, {"n": 1})], [({"index": {"_id": "b"}}, {"n": 1})], [({"index": {}}, {"n": 1})] * 2):
        assert httpx.post(f"{server.url}/logs/_bulk", content=bulk(*pairs)).json()["errors"] is False
    ids = [event["tacit.id"] for event in server.events()]
    assert ids[0] == ids[2] != ids[1] == ids[3]
    assert ids[5] == ids[4] + "-1"
    assert len(set(ids)) == 4


def test_what_is_no_bulk_request_is_refused_as_a_whole(serving: Start) -> None:
    server = serving()
    for body in (b"", b"\n", b"{}\n{}\n", b'{"index":1}\n{}\n', b'{"index":{}}\n', b"\xff\n", b'{"drop":{}}\n{}\n', b"[" * 10_000 + b"\n{}\n"):
        response = httpx.post(f"{server.url}/_bulk", content=body)
        assert response.status_code == response.json()["status"] == 400
    assert server.events() == []


def test_hostile_bodies(serving: Start) -> None:
    server = serving("--queue", "8")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        post = client.post
        bomb = gzip.compress(b'{"index":{}}\n{"n":1}\n' * 2_000_000)
        assert len(bomb) < 1 << 18
        assert post("/_bulk", content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
        assert post("/_bulk", content=b'{"index":{}}\n{"message":"' + b"x" * (3 << 20) + b'"}\n').status_code == 413
        assert post("/_bulk", content=b"no gzip", headers={"Content-Encoding": "gzip"}).status_code == 400
        assert post("/_bulk", content=gzip.compress(b'{"index":{}}\n{"n":1}\n')[:-9], headers={"Content-Encoding": "gzip"}).status_code == 400
        assert post("/_bulk", content=b"x", headers={"Content-Encoding": "br"}).status_code == 415
        assert post("/../etc/_bulk", content=b"x").status_code in (400, 404)
        assert post("/_all/_bulk", content=b'{"index":{}}\n{"n":1}\n').status_code == 400
        deep = b'{"message":' * 1_000 + b"1" + b"}" * 1_000
        keys = json.dumps({f"k{n}": n for n in range(10_000)}).encode()
        long = b'{"message":"' + b"a" * ((1 << 20) + 1) + b'"}'
        bait = json.dumps({"message": "a" * 50_000 + "@"}).encode()
        lines = [deep, keys, long, b'{"n":"\x00"}', b'{"n":"\xff"}', b'{"n":1,"n":2}', b'{"n":NaN}', bait]
        answer = post("/_bulk", content=b"".join(b'{"index":{}}\n' + line + b"\n" for line in lines)).json()
        assert [item["index"]["status"] for item in answer["items"]][2:5] == [400, 400, 400]
        assert all(set(event) <= {"user", "n", "message", "tacit.id"} for event in server.events())
        assert post("/_bulk", content=b'{"index":{}}\n{"n":7}\n').json()["errors"] is False
        assert server.process.poll() is None


def test_nothing_of_an_event_is_in_what_the_server_says(serving: Start) -> None:
    server = serving(*AUTH)
    secret = "zebra-4711"  # noqa: S105 - what must not show
    with httpx.Client(base_url=server.url, headers=BEARER) as client:
        answers = [client.post(path, content=content) for path, content in (
            (f"/{secret}!/_bulk", b"x"), ("/_bulk", f'{{"{secret}":{{}}}}\n{{}}\n'.encode()), ("/_bulk", f'{{"index":{{}}}}\n{secret}\n'.encode()),
            (f"/services/collector/event?x={secret}", f'{{"event":"{secret}"'.encode()), (f"/{secret}", b""),
            ("/services/collector/raw", secret.encode()),
        )]
        answers.append(client.get("/metrics"))
    answers.append(httpx.get(f"{server.url}/", headers={"Authorization": f"Bearer {secret}"}))
    assert server.stop() == 0
    assert all(secret not in answer.text for answer in answers)
    assert secret not in server.said


# --------------------------------------------------------------------------------------------------------------------- HEC


def test_the_event_collector(serving: Start) -> None:
    server = serving(*AUTH)
    with httpx.Client(base_url=server.url, headers=SPLUNK) as client:
        many = b'{"event":{"user":"anna","n":1},"time":1700000000.5,"host":"web1"} {"event":{"n":2}}\n\n{"event":"{\\"n\\":3}"}{"event":{"n":4}}'
        assert client.post("/services/collector/event", content=many).json() == {"text": "Success", "code": 0}
        by_lines = b"".join(b'{"event":{"n":%d}}\n' % n for n in (5, 6))
        packed = client.post("/services/collector", content=gzip.compress(by_lines), headers={"Content-Encoding": "gzip"})
        assert packed.json()["code"] == 0
        assert client.post("/services/collector/event/1.0", content=b'[{"event":{"n":7}},{"event":{"n":8}}]').json()["code"] == 0
        assert client.post("/services/collector/raw?sourcetype=x", content=b'{"n":9}\r\n{"n":10}\n').json()["code"] == 0
        assert client.get("/services/collector/health").json()["code"] == 17
    events = server.events()
    assert [event["n"] for event in events] == list(range(1, 11))
    assert events[0]["hec"]["time"] == 1700000000.5
    assert events[0]["hec"]["host"].startswith("h-")


WRONG: list[tuple[bytes, int, int | None]] = [
    (b"", 5, None), (b"  \n", 5, None), (b"{", 6, 0), (b'{"event":{"n":1}}{"ev', 6, 1), (b"17", 6, 0), (b'{"event":{"n":1}}\n{"time":1}', 12, 1),
    (b'{"event":""}', 13, 0), (b'{"event":null}', 12, 0), (b"\xff", 6, 0), (b'{"event":' + b"[" * 100_000, 6, 0),
]


def test_the_collectors_own_errors(serving: Start) -> None:
    server = serving(*AUTH)
    for body, code, number in WRONG:
        response = httpx.post(f"{server.url}/services/collector/event", content=body, headers=SPLUNK)
        assert (response.status_code, response.json()["code"], response.json().get("invalid-event-number")) == (400, code, number)
    assert server.events() == []


# ---------------------------------------------------------------------------------------------------------------- who may


def test_without_a_token_nothing_is_taken(serving: Start) -> None:
    server = serving(*AUTH)
    body = b'{"index":{}}\n{"n":1}\n'
    basic = base64.b64encode(b"shipper:x").decode()
    wrong = [None, "Bearer", f"Bearer {TOKEN}x", f"Bearer shipper:{TOKEN}", "Basic !!!", f"Basic {basic}",
             f"Digest {TOKEN}", f"ApiKey {TOKEN}", TOKEN, "Bearer \u00e9"]
    with httpx.Client(base_url=server.url) as client:
        for header in wrong:
            headers = {} if header is None else {"Authorization": header.encode("utf-8")}
            assert client.post("/_bulk", content=body, headers=headers).status_code == 401
            assert client.post("/services/collector/event", content=b'{"event":{"n":1}}', headers=headers).status_code in (401, 403)
            assert client.get("/metrics", headers=headers).status_code == 401
            assert client.get("/", headers=headers).status_code == 401
        codes = [client.post("/services/collector", content=b"{}", headers=headers).json()["code"] for headers in
                 ({}, {"Authorization": "Other x"}, {"Authorization": "Splunk wrong"})]
        assert codes == [2, 3, 4]
        assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
        assert f'tacit_denied_total{{listener="bulk"}} {2 * len(wrong)}.0' in client.get("/metrics", headers=BEARER).text
    assert server.events() == []


def test_tls(serving: Start, certificate: tuple[Path, Path]) -> None:
    import ssl

    server = serving(*AUTH, "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    assert server.url.startswith("https://")
    with httpx.Client(base_url=server.url, headers=BEARER, verify=ssl.create_default_context(cafile=str(certificate[0]))) as client:
        assert client.post("/_bulk", content=b'{"index":{}}\n{"n":1}\n').json()["errors"] is False
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    assert len(server.events()) == 1


def refusal(*options: str) -> tuple[int, str]:
    """Exit code and message of a command that must not begin."""
    base = ["--policy", "policy.yaml", "--keys", "keys.json", "--http", "127.0.0.1:0", "--to", "file:out.jsonl"]
    error = CliRunner().invoke(serve, [*base, *options]).exception
    assert isinstance(error, TacitError), error
    return error.exit_code, str(error)


def test_what_is_wrong_is_said_before_anything_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "open").write_text("a:" + TOKEN)
    (folder / "open").chmod(0o644)
    (folder / "short").write_text("a:b")
    (folder / "short").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for options, message in (
            (("--http", f"127.0.0.1:{port}"), f"Cannot listen on 127.0.0.1:{port}"),
            (("--keys", "missing/keys.json"), "Cannot read"),
            (("--policy", "missing.yaml"), "Cannot read the policy"),
            (("--token-file", "open"), "chmod 600"),
            (("--token-file", "short"), "at least 16 characters"),
            (("--http", "0.0.0.0:0"), "--token-file"),
            (("--http", "0.0.0.0:0", "--token-file", "tokens"), "--plain"),
            (("--tls-cert", "tokens"), "together"),
            (("--tls-cert", "tokens", "--tls-key", "tokens"), "PEM"),
            (("--to", "tape:x"), "file:PATH"),
            (("--to", "bulk:http://127.0.0.1:9"), "URL/INDEX"),
            (("--to", "hec:http://a:b@127.0.0.1:9"), "without a password"),
            (("--to", "file:missing/out.jsonl"), "Cannot write"),
            (("--dead-letters", "missing/dead.jsonl"), "dead letters"),
            (("--http", "9200"), "HOST:PORT"),
        ):
            code, said = refusal(*options)
            assert (code, message in said) == (2, True), (options, code, said)
    assert not (folder / "out.jsonl").exists() or not (folder / "out.jsonl").read_text()


# --------------------------------------------------------------------------------------------------- kill, load, other senders


def test_killed_twice_nothing_acknowledged_is_missing(serving: Start) -> None:
    server = serving()
    acknowledged: set[int] = set()
    repeated = kills = 0
    with httpx.Client(base_url=server.url, timeout=10) as client:
        for start in range(0, 10_000, 250):
            body = bulk(*(({"index": {}}, document) for document in documents(250, start=start)))
            if start in (2_500, 7_500):
                _send_and_kill(server, body, wait=0.004 * (1 + kills))
                kills += 1
                server.start()
            while True:
                try:
                    answer = client.post("/_bulk", content=body)
                except httpx.TransportError:
                    repeated += 1
                    time.sleep(0.05)
                    continue
                assert answer.json()["errors"] is False
                break
            acknowledged |= set(range(start, start + 250))
    assert kills == 2
    assert server.stop() == 0
    events = server.events()  # every line is whole: it would not parse else
    assert acknowledged == set(range(10_000)) == {event["n"] for event in events}
    ids: dict[int, set[str]] = {}
    for event in events:
        ids.setdefault(event["n"], set()).add(event["tacit.id"])
    assert all(len(found) == 1 for found in ids.values()), "what came twice has one identifier"
    assert len({next(iter(found)) for found in ids.values()}) == 10_000


def _send_and_kill(server: Serving, body: bytes, *, wait: float) -> None:
    """Send a request, and kill the server in the middle of it."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body)
        time.sleep(wait)
        server.kill()


def test_a_line_that_a_crash_has_cut_is_not_continued(folder: Path, serving: Start) -> None:
    (folder / "out.jsonl").write_text('{"n":0}\n{"n":1,"user":"u-k7-0')
    server = serving()
    httpx.post(f"{server.url}/_bulk", content=b'{"index":{}}\n{"n":1}\n')
    assert [event["n"] for event in server.events()] == [0, 1]


def test_sigterm_delivers_what_was_taken(serving: Start) -> None:
    import threading

    server = serving()
    answers: list[int] = []

    def send(start: int) -> None:
        body = bulk(*(({"index": {}}, document) for document in documents(2_000, start=start)))
        try:
            answers.append(httpx.post(f"{server.url}/_bulk", content=body, timeout=30).status_code)
        except httpx.TransportError:
            answers.append(0)

    threads = [threading.Thread(target=send, args=(2_000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.15)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    assert len({event["n"] for event in server.events()}) >= 2_000 * answers.count(200)


@pytest.mark.slow
def test_a_dead_outlet_makes_senders_wait_and_memory_stays_flat(serving: Start) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server = serving("--queue", "4", "--to", "bulk:http://127.0.0.1:9/logs")
    body = bulk(*(({"index": {}}, {"user": f"user{n}", "message": "x" * 500}) for n in range(1_000)))

    def send(_: int) -> int:
        try:
            return httpx.post(f"{server.url}/_bulk", content=body, timeout=2).status_code
        except httpx.TimeoutException:
            return 0

    def load(requests: int) -> list[int]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(send, range(requests)))

    first = load(300)
    before = server.memory()
    second = load(1_500)
    after = server.memory()
    assert set(first + second) <= {0, 429, 503}
    assert second.count(429) > 1_000
    assert after < before + (32 << 20), (before, after)
    assert httpx.get(f"{server.url}/health/ready").status_code == 503
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    assert httpx.get(f"{server.url}/services/collector/health").json()["code"] == 18
    assert 'tacit_outlet_errors_total{outlet="bulk"}' in httpx.get(f"{server.url}/metrics").text


def test_rsyslog_ships_through_omelasticsearch(serving: Start, tmp_path: Path) -> None:
    if shutil.which("rsyslogd") is None or not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")):
        pytest.skip("rsyslog with omelasticsearch is not installed: apt-get install rsyslog-elasticsearch")
    server = serving(*AUTH)
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(json.dumps(document) + "\n" for document in documents(1_000)))
    (tmp_path / "rsyslog.conf").write_text(f"""
global(workDirectory="{tmp_path}" maxMessageSize="64k")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omelasticsearch")
template(name="whole" type="string" string="%msg%")
input(type="imfile" file="{lines}" tag="t" ruleset="ship")
ruleset(name="ship") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{server.port}" searchIndex="logs" searchType="" template="whole" bulkmode="on"
         uid="shipper" pwd="{TOKEN}" queue.type="linkedList" queue.dequeuebatchsize="50"
         action.resumeretrycount="-1" action.resumeinterval="1" errorfile="{tmp_path}/errors")
}}
""")
    log = (tmp_path / "rsyslog.txt").open("w")
    shipper = subprocess.Popen(["rsyslogd", "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 300
        killed = False
        while len({event["n"] for event in _whole(server)}) < 1_000 and time.monotonic() < end:
            time.sleep(0.2)
            if not killed and (tmp_path / "out.jsonl").stat().st_size:
                killed = True
                server.kill()
                server.start()
    finally:
        shipper.terminate()
        shipper.wait(20)
        log.close()
    assert {event["n"] for event in _whole(server)} == set(range(1_000)), (tmp_path / "rsyslog.txt").read_text()[-2_000:]
    assert not (tmp_path / "errors").exists()


def _whole(server: Serving) -> list[dict[str, Any]]:
    """Events of a file that is being written."""
    path = server.folder / "out.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def test_a_bomb_of_deflate_is_bounded() -> None:
    from tacit.web import Bodies, BodyError, unpacked

    bodies = Bodies(most_body=1 << 20, most_held=1 << 22)
    with bodies.room() as held:
        with pytest.raises(BodyError) as refused:
            unpacked(zlib.compress(b"x" * (64 << 20)), held, gzip=False)
        assert refused.value.status == 413
    assert bodies.held == 0
    with bodies.room() as held:
        assert unpacked(gzip.compress(b"a") + gzip.compress(b"b"), held, gzip=True) == b"ab"


def test_a_blank_text_of_the_collector_is_put_aside() -> None:
    """A shipper must learn of every event of its body, also of one in which a reader of lines sees nothing."""
    from tacit.logs.formats import by_name
    from tacit.logs.stages.web.splunk import Envelopes, envelopes

    lines = envelopes(b'\n{"event":" "}{"event":"\\t\\n"}{"event":{"a":1}}\n')
    for form in ("syslog", "json", "cef", "zeek"):
        found = Envelopes(by_name(form), about=False).parse(lines)
        assert found.places == [2]
        assert [(damaged.line, damaged.reason) for damaged in found.damaged] == [(0, "blank"), (1, "blank")]
