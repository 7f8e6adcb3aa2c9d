"""The server API: `cent` unmodified, bare HTTP, the legacy form of older libraries, and NATS."""

import base64
import json
import uuid

import nats
import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)

from app import eventually, fresh, heard
from system import API_KEY


@pytest.fixture
def cent(topology):
    with Client(topology.first.api_url, API_KEY) as client:
        yield client


def test_cent_publishes_and_reads_history(cent):
    channel = fresh("chat")
    results = [cent.publish(PublishRequest(channel=channel, data={"n": n})) for n in range(5)]
    assert [each.offset for each in results] == sorted({each.offset for each in results})
    assert results[0].epoch == results[-1].epoch != ""

    history = cent.history(HistoryRequest(channel=channel, limit=-1))
    assert [each.data for each in history.publications] == [{"n": n} for n in range(5)]
    assert (history.offset, history.epoch) == (results[-1].offset, results[-1].epoch)
    since = StreamPosition(offset=results[1].offset, epoch=results[1].epoch)
    assert [each.data["n"] for each in cent.history(HistoryRequest(channel=channel, limit=2, since=since)).publications] == [2, 3]
    newest = cent.history(HistoryRequest(channel=channel, limit=1, reverse=True))
    assert newest.publications[0].data == {"n": 4}
    assert cent.history(HistoryRequest(channel=channel)).publications == []


def test_every_node_tells_the_same_history(topology):
    channel = fresh("chat")
    topology.first.publish(channel, 1)
    for node in topology.nodes:
        with Client(node.api_url, API_KEY) as client:
            assert [each.data for each in client.history(HistoryRequest(channel=channel, limit=-1)).publications] == [1]


def test_tags_are_kept(cent):
    channel = fresh("chat")
    cent.publish(PublishRequest(channel=channel, data=1, tags={"lang": "de"}))
    assert cent.history(HistoryRequest(channel=channel, limit=1)).publications[0].tags == {"lang": "de"}


def test_an_idempotency_key_publishes_once_and_returns_the_first_result(cent, topology):
    channel = fresh("chat")
    request = PublishRequest(channel=channel, data=1, idempotency_key="once")
    first = cent.publish(request)
    with Client(topology.other.api_url, API_KEY) as elsewhere:
        again = elsewhere.publish(request)
    assert (again.offset, again.epoch) == (first.offset, first.epoch)
    assert len(cent.history(HistoryRequest(channel=channel, limit=-1)).publications) == 1
    other = fresh("chat")
    assert cent.publish(PublishRequest(channel=other, data=1, idempotency_key="once")).offset != first.offset
    assert len(cent.history(HistoryRequest(channel=other, limit=-1)).publications) == 1, "keys are per channel"


def test_a_lower_version_is_dropped(topology):
    channel = fresh("chat")
    for version, data in [(1, "a"), (3, "c"), (2, "b"), (3, "d")]:
        topology.first.publish(channel, data, version=version)
    status, text = topology.first.post("/api/history", json.dumps({"channel": channel, "limit": -1}))
    assert [each["data"] for each in json.loads(text)["result"]["publications"]] == ["a", "c"]


def test_skip_history_stores_nothing(cent):
    channel = fresh("chat")
    result = cent.publish(PublishRequest(channel=channel, data=1, skip_history=True))
    assert not result.offset
    assert cent.history(HistoryRequest(channel=channel, limit=-1)).publications == []


def test_broadcast_answers_each_channel_in_order(cent):
    channels = [fresh("chat"), fresh("nowhere"), fresh("plain"), fresh("chat")]
    result = cent.broadcast(BroadcastRequest(channels=channels, data={"all": True}))
    assert [each.error.code if each.error else 0 for each in result.responses] == [0, 102, 0, 0]
    assert result.responses[0].result.offset
    for channel in (channels[0], channels[3]):
        assert [each.data for each in cent.history(HistoryRequest(channel=channel, limit=-1)).publications] == [{"all": True}]


def test_batch_answers_each_command_in_order(cent):
    channel = fresh("chat")
    requests = [
        PublishRequest(channel=channel, data=1),
        PublishRequest(channel=channel, data=2),
        HistoryRequest(channel=channel, limit=-1),
        InfoRequest(),
    ]
    replies = cent.batch(BatchRequest(requests=requests)).replies
    assert replies[1].offset > replies[0].offset
    assert [each.data for each in replies[2].publications] == [1, 2]
    assert replies[3].nodes


def test_a_parallel_batch_answers_in_order_too(topology):
    channels = [fresh("chat") for _ in range(20)] + [fresh("nowhere")]
    commands = [{"publish": {"channel": channel, "data": 1}} for channel in channels]
    status, text = topology.first.post("/api/batch", json.dumps({"commands": commands, "parallel": True}))
    replies = json.loads(text)["replies"]  # the one method without a result around it
    assert [list(each) for each in replies] == [["publish"]] * 20 + [["error"]]


def test_history_remove_forgets(cent):
    channel = fresh("chat")
    cent.publish(PublishRequest(channel=channel, data=1))
    before = cent.history(HistoryRequest(channel=channel, limit=0))
    cent.history_remove(HistoryRemoveRequest(channel=channel))
    after = cent.history(HistoryRequest(channel=channel, limit=-1))
    assert after.publications == []
    assert after.epoch == before.epoch
    assert cent.publish(PublishRequest(channel=channel, data=2)).offset > before.offset


def test_info_names_nodes(cent, topology):
    result = cent.info(InfoRequest())
    names = [node.name for node in result.nodes]
    assert topology.first.name in names
    assert all(node.uid and node.version for node in result.nodes)


async def test_channels_counts_subscribers(topology, apps):
    app = await (await apps()).ready()
    channel = fresh("chat")
    await app.subscribe(channel)
    client = AsyncClient(topology.first.api_url, API_KEY)
    try:
        result = await client.channels(ChannelsRequest(pattern=channel[:-1] + "*"))
        assert result.channels[channel].num_clients == 1
    finally:
        await client._session.close()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (PublishRequest(channel="nowhere:x", data=1), 102),
        (PublishRequest(channel="", data=1), 107),
        (HistoryRequest(channel="plain:x", limit=1), 108),
        (HistoryRequest(channel="chat:x", limit=1, since=StreamPosition(offset=1, epoch="another")), 112),
        (HistoryRemoveRequest(channel="plain:x"), 108),
    ],
)
def test_errors_have_centrifugos_codes(cent, request_, code):
    with pytest.raises(CentApiResponseError) as refused:
        cent._send(request_)
    assert refused.value.code == code
    assert refused.value.message


def test_a_wrong_key_is_unauthorized(topology):
    with Client(topology.first.api_url, "wrong") as client, pytest.raises(CentUnauthorizedError):
        client.info(InfoRequest())
    for key in (None, "", "wrong"):
        assert topology.first.post("/api/info", "{}", key=key)[0] == 401


def test_the_key_may_come_in_its_other_places(topology):
    node = topology.first
    assert node.post("/api/info", "{}", key=None, headers={"Authorization": f"apikey {API_KEY}"})[0] == 200
    assert node.post(f"/api/info?api_key={API_KEY}", "{}", key=None)[0] == 200


def test_bad_requests(topology):
    node = topology.first
    assert node.post("/api/publish", "no json")[0] == 400
    status, text = node.post("/api/publish", json.dumps({"channel": fresh("chat")}))
    assert (status, json.loads(text)["error"]["code"]) == (200, 107)
    status, text = node.post("/api/publish", json.dumps({"channel": fresh("objects"), "data": [1]}))
    assert (status, json.loads(text)["error"]["code"]) == (200, 107)
    status, text = node.post("/api/publish", json.dumps({"channel": fresh("chat"), "b64data": "***"}))
    assert (status, json.loads(text)["error"]["code"]) == (200, 107)
    assert node.post("/api/no_such_method", "{}")[0] == 404


def test_results_leave_zero_values_out(topology):
    assert topology.first.post("/api/publish", json.dumps({"channel": fresh("plain"), "data": 1})) == (200, '{"result":{}}')


def test_errors_as_statuses_when_asked_for(topology):
    status, text = topology.first.post(
        "/api/publish",
        json.dumps({"channel": "nowhere:x", "data": 1}),
        headers={"X-Centrifugo-Error-Mode": "transport"},
    )
    assert (status, json.loads(text)["code"]) == (404, 102)


def test_unknown_fields_are_ignored(topology):
    topology.first.publish(fresh("chat"), 1, no_such_field=True, all_users=True)


async def test_b64data_reaches_protobuf_clients_as_bytes(topology, apps):
    app = await (await apps()).ready()
    if not app.protobuf:
        return
    channel = fresh("bytes")
    listener = await app.subscribe(channel)
    topology.other.publish(channel, None, b64data=base64.b64encode(b"\x00\xff\n").decode())
    await eventually("it arrives", lambda: listener.publications)
    assert listener.publications[0].data == b"\x00\xff\n"


def test_the_legacy_form_takes_commands_line_by_line(topology):
    """What gocent 3 and phpcent 3 send: POST /api with one command a line."""
    channel = fresh("chat")
    lines = [
        {"id": 1, "method": "publish", "params": {"channel": channel, "data": {"n": 1}}},
        {"id": 2, "method": "PUBLISH", "params": {"channel": channel, "data": {"n": 2}}},
        {"id": 3, "method": "history", "params": {"channel": channel, "limit": 10}},
        {"id": 4, "method": "publish", "params": {"channel": "nowhere:x", "data": 1}},
        {"id": 5, "method": "info", "params": {}},
        {"id": 6, "method": "dance", "params": {}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    status, text = topology.first.post("/api", body, headers={"Content-Type": "application/json"})
    assert status == 200
    replies = [json.loads(line) for line in text.splitlines() if line]
    assert [each.get("id") for each in replies] == [1, 2, 3, 4, 5, 6]
    assert replies[0]["result"]["offset"] < replies[1]["result"]["offset"]
    assert [each["data"] for each in replies[2]["result"]["publications"]] == [{"n": 1}, {"n": 2}]
    assert replies[3]["error"]["code"] == 102
    assert replies[4]["result"]["nodes"]
    assert replies[5]["error"]["code"] == 104


def test_the_legacy_form_with_its_key_as_gocent_sends_it(topology):
    body = json.dumps({"method": "publish", "params": {"channel": fresh("chat"), "data": 1}})
    status, text = topology.first.post("/api", body, key=None, headers={"Authorization": f"apikey {API_KEY}"})
    assert status == 200 and "result" in json.loads(text)
    assert topology.first.post("/api", body, key="wrong")[0] == 401


async def connect_to_nats(topology):
    if not topology.servers:
        pytest.skip("needs NATS")
    return await nats.connect([server.url for server in topology.servers])


async def test_any_nats_client_publishes_to_a_channel(topology, apps):
    """A backend needs no library of ours: `midplane.pub.<namespace>.<rest>`, the payload is the data."""
    backend = await connect_to_nats(topology)
    app = await (await apps(topology.other)).ready()
    kept, passing = fresh("chat"), fresh("plain")
    with_history, without = await app.subscribe(kept), await app.subscribe(passing)
    await heard(topology, passing, without)
    subject = lambda channel: "midplane.pub." + channel.replace(":", ".")

    ack = await backend.jetstream().publish(subject(kept), b'{"from": "nats"}', headers={"Nats-Msg-Id": uuid.uuid4().hex})
    await backend.publish(subject(passing), b'{"from": "core"}')
    await backend.flush()
    assert await with_history.received(1) == [{"from": "nats"}]
    assert await without.received(1) == [{"from": "core"}]
    assert with_history.publications[0].offset == ack.seq
    await backend.close()


async def test_headers_that_are_forged_move_nobody(topology, apps):
    backend = await connect_to_nats(topology)
    app = await (await apps()).ready()
    channel = fresh("chat")
    listener = await app.subscribe(channel)
    subject = "midplane.pub." + channel.replace(":", ".")
    forged = {"Nats-Sequence": "999999", "Nats-Last-Sequence": "999998", "Nats-Subject": "midplane.pub.chat.other"}
    acks = [await backend.jetstream().publish(subject, b"%d" % n, headers=forged) for n in (1, 2, 3)]
    assert await listener.received(3) == [1, 2, 3]
    assert [each.offset for each in listener.publications] == [ack.seq for ack in acks]
    await backend.close()


async def test_a_json_client_never_gets_a_payload_that_is_no_json(topology, apps):
    backend = await connect_to_nats(topology)
    app = await (await apps()).ready()
    channel = fresh("json")
    listener = await app.subscribe(channel)
    await heard(topology, channel, listener)
    await backend.publish("midplane.pub." + channel.replace(":", "."), b"\xff\xfe no json")
    await backend.flush()
    topology.first.publish(channel, {"fine": True})
    garbage = b"\xff\xfe no json"
    readable = lambda: [app.decode(pub.data) for pub in listener.publications if pub.data != garbage]
    await eventually("the next one, or the end", lambda: app.disconnected or {"fine": True} in readable())
    if app.disconnected:
        assert app.disconnected.code == 3506 and not app.protobuf
    await backend.close()


async def test_the_server_api_over_nats_speaks_the_same_json(topology):
    backend = await connect_to_nats(topology)
    channel = fresh("chat")

    async def call(method, request):
        answer = await backend.request(f"midplane.api.{method}", json.dumps(request).encode(), timeout=5)
        return json.loads(answer.data)

    published = await call("publish", {"channel": channel, "data": {"n": 1}})
    assert published["result"]["offset"] > 0
    history = await call("history", {"channel": channel, "limit": 10})
    assert [each["data"] for each in history["result"]["publications"]] == [{"n": 1}]
    assert (await call("publish", {"channel": "nowhere:x", "data": 1}))["error"]["code"] == 102
    assert (await call("dance", {}))["error"]["code"] == 104
    await backend.close()


def test_cent_asks_for_what_concerns_a_users_connections(cent):
    user = fresh("user")
    cent.subscribe(SubscribeRequest(user=user, channel=fresh("chat")))
    cent.unsubscribe(UnsubscribeRequest(user=user, channel=fresh("chat")))
    cent.refresh(RefreshRequest(user=user, expire_at=4102444800))
    cent.disconnect(DisconnectRequest(user=user, disconnect=Disconnect(code=4501, reason="account closed")))
