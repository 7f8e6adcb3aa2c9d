"""Every method that `cent` has: asked at one node about what is at another. What it lacks here says so as Centrifugo does."""

import inspect
import typing

import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    ChannelsRequest,
    Client,
    ConnectionsRequest,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    InvalidateUserTokensRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    RevokeTokenRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

from app import App, eventually, fresh, now, token
from system import API_KEY


def methods_of(client):
    """The names of the methods that call the server, as the package has them."""
    members = inspect.getmembers(client, inspect.isfunction)
    return sorted(name for name, _ in members if not name.startswith("_") and name != "close")


METHODS = methods_of(Client)

# Features of Centrifugo PRO that midplane does not have (docs/server-api.md).
ABSENT = {
    "block_user",
    "cancel_push",
    "delete_user_status",
    "device_list",
    "device_register",
    "device_remove",
    "device_topic_list",
    "device_topic_update",
    "device_update",
    "get_user_status",
    "send_push_notification",
    "unblock_user",
    "update_push_status",
    "update_user_status",
    "user_topic_list",
    "user_topic_update",
}


class World:
    """Two ends of the cluster: calls go to one, the user is at the other."""

    def __init__(self, topology):
        self.topology = topology
        self.user = fresh("user")
        self.cent = AsyncClient(topology.first.api_url, API_KEY)
        self.apps = []

    async def ann(self, **claims):
        app = App(False, self.topology.other)
        self.apps.append(app)
        await app.open(token=token(sub=self.user, **claims))
        return await app.ready()

    async def close(self):
        for app in self.apps:
            await app.close()
        await self.cent.close()


@pytest.fixture
async def world(topology):
    made = World(topology)
    yield made
    await made.close()


async def publish(world):
    ann, channel = await world.ann(), fresh("chat")
    listener = await ann.subscribe(channel)
    result = await world.cent.publish(PublishRequest(channel=channel, data={"n": 1}))
    assert result.offset and result.epoch
    assert await listener.received(1) == [{"n": 1}]


async def broadcast(world):
    ann, channels = await world.ann(), [fresh("chat"), fresh("chat")]
    listeners = [await ann.subscribe(channel) for channel in channels]
    result = await world.cent.broadcast(BroadcastRequest(channels=[*channels, fresh("nowhere")], data=1))
    assert [each.error.code if each.error else 0 for each in result.responses] == [0, 0, 102]
    assert [await listener.received(1) for listener in listeners] == [[1], [1]]


async def subscribe(world):
    ann, channel = await world.ann(), fresh("chat")
    await world.cent.subscribe(SubscribeRequest(user=world.user, channel=channel))
    await eventually("it is subscribed", lambda: channel in [each.channel for each in ann.subscribed])
    await world.cent.publish(PublishRequest(channel=channel, data=2))
    await eventually("and hears", lambda: [each.pub.data for each in ann.publications if each.channel == channel] == [2])


async def unsubscribe(world):
    ann, channel = await world.ann(), fresh("chat")
    listener = await ann.subscribe(channel)
    await world.cent.unsubscribe(UnsubscribeRequest(user=world.user, channel=channel))
    assert await listener.refusal() == 2000


async def disconnect(world):
    ann = await world.ann()
    await world.cent.disconnect(DisconnectRequest(user=world.user))
    await eventually("it is sent away", lambda: ann.disconnected)
    assert ann.disconnected.code == 3503


async def refresh(world):
    ann = await world.ann()
    await world.cent.refresh(RefreshRequest(user=world.user, expire_at=now(600)))
    await world.cent.refresh(RefreshRequest(user=world.user, expired=True))
    await eventually("it has to connect anew", lambda: len(ann.connected) >= 2 or ann.disconnected)


async def presence(world):
    ann, channel = await world.ann(info={"name": "Ann"}), fresh("room")
    await ann.subscribe(channel)

    async def there():
        return (await world.cent.presence(PresenceRequest(channel=channel))).presence

    (info,) = (await eventually("it is seen", there)).values()
    assert (info.user, info.conn_info) == (world.user, {"name": "Ann"})


async def presence_stats(world):
    channel = fresh("room")
    for ann in (await world.ann(), await world.ann()):
        await ann.subscribe(channel)

    async def counted():
        result = await world.cent.presence_stats(PresenceStatsRequest(channel=channel))
        return (result.num_clients, result.num_users) == (2, 1)

    await eventually("both are counted", counted)


async def history(world):
    channel = fresh("chat")
    world.topology.other.publish(channel, {"n": 1})
    result = await world.cent.history(HistoryRequest(channel=channel, limit=10))
    assert [each.data for each in result.publications] == [{"n": 1}]
    assert result.offset and result.epoch


async def history_remove(world):
    channel = fresh("chat")
    world.topology.other.publish(channel, 1)
    await world.cent.history_remove(HistoryRemoveRequest(channel=channel))
    assert (await world.cent.history(HistoryRequest(channel=channel, limit=10))).publications == []


async def channels(world):
    ann, channel = await world.ann(), fresh("chat")
    await ann.subscribe(channel)
    result = await world.cent.channels(ChannelsRequest(pattern=channel))
    assert {name: each.num_clients for name, each in result.channels.items()} == {channel: 1}


async def connections(world):
    ann = await world.ann()
    result = await world.cent.connections(ConnectionsRequest(user=world.user, expression=""))
    assert list(result.connections) == [ann.connected[0].client]
    (found,) = result.connections.values()
    assert (found.user, found.transport, found.protocol) == (world.user, "websocket", "json")


async def info(world):
    ann = await world.ann()
    assert ann.connected

    async def counted():
        nodes = (await world.cent.info(InfoRequest())).nodes
        assert {node.name for node in nodes} == {node.name for node in world.topology.nodes}
        return sum(node.num_clients for node in nodes) >= 1

    await eventually("its client is counted", counted)


async def revoke_token(world):
    name = fresh("token")
    ann = await world.ann(jti=name, exp=now(600))
    await world.cent.revoke_token(RevokeTokenRequest(uid=name, expire_at=now(600)))
    await eventually("it is sent away", lambda: ann.disconnected)
    assert ann.disconnected.code == 3500


async def invalidate_user_tokens(world):
    ann = await world.ann(iat=now(-100), exp=now(600))
    request = InvalidateUserTokensRequest(user=world.user, issued_before=now(-50), expire_at=now(600))
    await world.cent.invalidate_user_tokens(request)
    await eventually("it is sent away", lambda: ann.disconnected)
    assert ann.disconnected.code == 3500


async def batch(world):
    channel = fresh("chat")
    requests = [PublishRequest(channel=channel, data=1), HistoryRequest(channel=channel, limit=10), InfoRequest()]
    published, page, nodes = (await world.cent.batch(BatchRequest(requests=requests))).replies
    assert published.offset and [each.data for each in page.publications] == [1] and nodes.nodes


PRESENT = {
    each.__name__: each
    for each in (
        publish, broadcast, subscribe, unsubscribe, disconnect, refresh, presence, presence_stats, history,
        history_remove, channels, connections, info, revoke_token, invalidate_user_tokens, batch,
    )
}  # fmt: skip


def test_both_clients_have_the_same_methods_and_none_is_forgotten():
    assert METHODS == methods_of(AsyncClient) == sorted(PRESENT.keys() | ABSENT)


@pytest.mark.parametrize("name", METHODS)
async def test_every_method_does_what_it_says_or_says_that_it_is_not_there(world, name):
    if name in PRESENT:
        await PRESENT[name](world)
        return
    request = typing.get_type_hints(getattr(Client, name))["request"]
    with pytest.raises(CentApiResponseError) as refused:
        # Whatever it asks for: nobody looks at it.
        await getattr(world.cent, name)(request.model_construct())
    assert (refused.value.code, refused.value.message) == (108, f"not available: midplane has no {name}")
