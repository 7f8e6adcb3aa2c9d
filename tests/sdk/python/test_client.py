"""centrifuge-python, JSON and Protobuf, against every topology."""

import asyncio

import pytest
from centrifuge import CentrifugeError, StreamPosition
from centrifuge.exceptions import ReplyError

from app import eventually, fresh, heard, now, token


def up_to(last, first=1):
    return list(range(first, last + 1))


def publish(node, channel, numbers):
    return [node.publish(channel, number) for number in numbers]


async def test_a_client_without_a_token_is_anonymous(apps):
    guest = await (await apps()).ready()
    assert len(guest.connected[0].client) == 36
    assert "midplane" in guest.connected[0].version


async def test_a_client_with_a_token_is_known_by_its_user(apps):
    ada = await (await apps(token=token(sub="ada", exp=now(60), info={"role": "host"}))).ready()
    channel = fresh("chat")
    listener = await ada.subscribe(channel)
    await ada.publish(channel, {"text": "hi"})
    assert await listener.received(1) == [{"text": "hi"}]
    info = listener.publications[0].info
    assert (info.user, info.client) == ("ada", ada.connected[0].client)
    assert ada.decode(info.conn_info) == {"role": "host"}


async def test_a_wrong_token_ends_the_client_with_3500(apps):
    ada = await apps(token="nonsense")
    await eventually("disconnected", lambda: ada.disconnected)
    assert ada.disconnected.code == 3500


async def test_an_expired_token_makes_the_client_fetch_a_new_one(apps):
    async def get_token():
        return token(sub="ada", exp=now(60))

    ada = await apps(token=token(sub="ada", exp=now(-600)), get_token=get_token)
    await ada.ready()


async def test_a_token_is_refreshed_on_the_same_connection(apps):
    fetched = 0

    async def get_token():
        nonlocal fetched
        fetched += 1
        return token(sub="ada", exp=now(2 if fetched == 1 else 60))

    ada = await (await apps(get_token=get_token)).ready()
    await eventually("refreshed", lambda: fetched == 2)
    over = asyncio.get_running_loop().time() + 4
    await eventually("the first token is over", lambda: asyncio.get_running_loop().time() > over)
    listener = await ada.subscribe(fresh("chat"))
    await ada.publish(listener.channel, 1)
    assert await listener.received(1) == [1]
    assert len(ada.connected) == 1


@pytest.mark.parametrize(
    ("channel", "code"),
    [("nowhere:x", 102), ("limited:x", 103), ("$private:x", 103), ("chat:" + "x" * 300, 107), ("words:UPPER", 107)],
)
async def test_a_subscription_is_refused_with_its_code(apps, channel, code):
    guest = await (await apps()).ready()
    assert await (await guest.listen(channel)).refusal() == code
    assert guest.disconnected is None


async def test_a_subscription_token_opens_a_private_channel_and_is_refreshed(apps, topology):
    channel = "$" + fresh("private")
    fetched = 0

    async def get_token(of):
        nonlocal fetched
        fetched += 1
        return token(sub="ada", channel=of, exp=now(2 if fetched == 1 else 60))

    ada = await (await apps(token=token(sub="ada", exp=now(60)))).ready()
    listener = await ada.subscribe(channel, get_token=get_token)
    await eventually("refreshed", lambda: fetched == 2)
    over = asyncio.get_running_loop().time() + 4
    await eventually("the first token is over", lambda: asyncio.get_running_loop().time() > over)
    topology.other.publish(channel, "still here")
    assert await listener.received(1) == ["still here"]
    assert len(listener.subscribed) == 1


async def test_publications_reach_subscribers_on_every_node_in_order(apps, topology):
    channel = fresh("chat")
    listeners = [await (await (await apps(node)).ready()).subscribe(channel) for node in topology.nodes]
    publisher = await (await apps(topology.other)).ready()
    for number in up_to(50):
        await publisher.publish(channel, number)
    for listener in listeners:
        assert await listener.received(50) == up_to(50)
        offsets = [pub.offset for pub in listener.publications]
        assert offsets == sorted(set(offsets)) and offsets[0] > 0


async def test_history_is_read_by_limit_position_and_direction(apps, topology):
    channel = fresh("chat")
    offsets = [each["offset"] for each in publish(topology.first, channel, up_to(10))]
    guest = await (await apps(topology.other)).ready()

    async def read(**options):
        history = await guest.client.history(channel, **options)
        return [guest.decode(pub.data) for pub in history.publications], history

    data, history = await read(limit=-1)
    assert data == up_to(10)
    assert history.offset == offsets[-1] and history.epoch
    since = StreamPosition(offset=offsets[4], epoch=history.epoch)
    assert (await read(limit=2, since=since))[0] == [6, 7]
    assert (await read(limit=2, since=since, reverse=True))[0] == [4, 3]
    assert (await read(limit=2, reverse=True))[0] == [10, 9]
    assert (await read())[0] == []
    with pytest.raises(ReplyError) as refused:
        await read(limit=1, since=StreamPosition(offset=offsets[4], epoch="another"))
    assert refused.value.code == 112


async def test_publishing_without_permission_is_refused(apps):
    guest = await (await apps()).ready()
    for channel, code in [(fresh("short"), 103), (fresh("nowhere"), 102)]:
        with pytest.raises(ReplyError) as refused:
            await guest.publish(channel, 1)
        assert refused.value.code == code


async def test_a_client_that_reconnects_to_another_node_gets_what_it_missed(apps, topology):
    channel = fresh("chat")
    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel)
    publish(topology.first, channel, up_to(10))
    await listener.received(10)
    ada.address.cut()
    publish(topology.first, channel, up_to(60, 11))
    ada.address.node = topology.other
    await ada.ready(2)
    await eventually("subscribed again", lambda: len(listener.subscribed) == 2)
    assert listener.subscribed[1].was_recovering and listener.subscribed[1].recovered
    publish(topology.first, channel, up_to(70, 61))
    assert await listener.received(70) == up_to(70)


async def test_recovery_of_what_was_trimmed_is_refused(apps, topology):
    channel = fresh("short")
    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel)
    publish(topology.first, channel, [1])
    await listener.received(1)
    ada.address.cut()
    # More than history keeps, and more than a node keeps in memory of a busy channel.
    publish(topology.first, channel, up_to(299, 2))
    ada.address.node = topology.other
    await eventually("subscribed again", lambda: len(listener.subscribed) == 2)
    assert listener.subscribed[1].was_recovering and not listener.subscribed[1].recovered
    publish(topology.first, channel, [300])
    assert await listener.received(2) == [1, 300]


async def test_in_cache_mode_a_client_gets_the_latest_publication(apps, topology):
    channel = fresh("latest")
    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel)
    publish(topology.first, channel, [1])
    await listener.received(1)
    ada.address.cut()
    publish(topology.first, channel, up_to(5, 2))
    ada.address.node = topology.other
    assert await listener.received(2) == [1, 5]


async def test_server_side_subscriptions_recover_in_connect(apps, topology):
    channel = fresh("chat")
    ada = await (await apps(token=token(sub="ada-" + channel, exp=now(300), channels=[channel]))).ready()
    mine = lambda seen: [each for each in seen if each.channel == channel]
    await eventually("subscribed", lambda: mine(ada.subscribed))
    publish(topology.first, channel, [1, 2])
    await eventually("they arrive", lambda: len(mine(ada.publications)) == 2)
    ada.address.cut()
    publish(topology.first, channel, [3, 4])
    ada.address.node = topology.other
    await eventually("all arrive", lambda: len(mine(ada.publications)) == 4)
    assert [ada.decode(each.pub.data) for each in mine(ada.publications)] == up_to(4)
    assert mine(ada.subscribed)[-1].recovered


async def test_an_rpc_that_nobody_serves_is_a_clear_error(apps):
    guest = await (await apps()).ready()
    with pytest.raises(ReplyError) as refused:
        await guest.client.rpc("nobody", guest.encode({}))
    assert refused.value.code in (104, 108)


async def test_any_json_value_goes_through_unchanged(apps):
    channel = fresh("chat")
    guest = await (await apps()).ready()
    listener = await guest.subscribe(channel)
    values = [0, -1.5, True, "two\nlines", "😀 größer", [], {}, {"deep": [{"a": "b\tc"}]}]
    for value in values:
        await guest.publish(channel, value)
    assert await listener.received(len(values)) == values


async def test_pings_keep_a_quiet_connection_open(apps):
    guest = await (await apps()).ready()
    over = asyncio.get_running_loop().time() + 8
    await eventually("a ping interval passed", lambda: asyncio.get_running_loop().time() > over)
    assert len(guest.connected) == 1 and guest.disconnected is None


async def test_leaving_and_joining_again_works(apps, topology):
    channel = fresh("plain")
    guest = await (await apps()).ready()
    listener = await guest.subscribe(channel)
    await listener.subscription.unsubscribe()
    await eventually("left", lambda: listener.unsubscribed)
    await listener.subscription.subscribe()
    await eventually("joined again", lambda: len(listener.subscribed) == 2)
    await heard(topology, channel, listener)
    topology.other.publish(channel, 1)
    assert await listener.received(1) == [1]


async def test_publishing_bytes_that_are_no_json_is_refused_where_json_is_asked_for(apps):
    guest = await (await apps()).ready()
    if not guest.protobuf:
        with pytest.raises(CentrifugeError):
            await guest.client.publish(fresh("json"), b"\xff")
        return
    with pytest.raises(ReplyError) as refused:
        await guest.client.publish(fresh("json"), b"\xff\x00")
    assert refused.value.code == 107


async def test_what_a_backend_ends_it_ends_with_a_reason(apps, topology):
    """Without one this SDK ends for good, whatever the code (trap 14)."""
    channel, user = fresh("chat"), "ada-" + fresh("user")

    def call(method, **params):
        assert topology.other.api(method, user=user, **params) == {}

    ada = await (await apps(token=token(sub=user, exp=now(300)))).ready()
    listener = await ada.subscribe(channel)
    call("unsubscribe", channel=channel)
    await eventually("unsubscribed", lambda: listener.unsubscribed)
    assert listener.unsubscribed.code == 2000 and listener.unsubscribed.reason
    call("disconnect", disconnect={"code": 4000})
    await ada.ready(2)
    assert ada.connecting[-1].code == 4000 and ada.connecting[-1].reason
    call("disconnect", disconnect={"code": 4500, "reason": ""})
    await eventually("disconnected", lambda: ada.disconnected)
    assert ada.disconnected.code == 4500 and ada.disconnected.reason


async def test_a_client_begins_from_the_position_of_its_own_state_and_loads_it_anew_where_recovery_is_refused(apps, topology):
    channel, loaded = fresh("short"), []
    publish(topology.first, channel, [1])

    async def get_state(of):
        position = topology.other.api("history", channel=of, limit=0)
        loaded.append(position["offset"])
        return StreamPosition(offset=position["offset"], epoch=position["epoch"])

    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel, get_state=get_state)
    publish(topology.first, channel, [2])
    assert await listener.received(1) == [2]
    await ada.while_away(topology.other, lambda: publish(topology.first, channel, [3]))
    assert await listener.received(2) == [2, 3]
    assert len(loaded) == 1, "what was recovered need not be loaded"
    # More than history keeps, and more than a node keeps in memory of a busy channel.
    await ada.while_away(topology.first, lambda: publish(topology.first, channel, up_to(299, 4)))
    await eventually("loaded anew", lambda: len(loaded) == 2 and len(listener.subscribed) == 3)
    publish(topology.first, channel, [300])
    assert await listener.received(3) == [2, 3, 300]
