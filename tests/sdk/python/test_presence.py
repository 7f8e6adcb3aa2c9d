"""Who is in a channel, and who is told of joins and leaves."""

import pytest
from centrifuge.exceptions import ReplyError

from app import eventually, fresh, now, token


@pytest.fixture
def user(apps, topology):
    """Makes a connected user, whose info is its name."""

    async def make(name, node=None, **claims):
        claims = {"sub": name, "exp": now(300), "info": {"name": name}, **claims}
        return await (await apps(node or topology.first, token=token(**claims))).ready()

    return make


async def users(app, channel):
    return sorted(info.user for info in (await app.client.presence(channel)).clients.values())


async def test_clients_on_all_nodes_see_each_other(user, topology):
    channel = fresh("room")
    ann = await user("ann")
    hall = await ann.subscribe(channel)
    own = (await hall.subscription.presence()).clients
    assert list(own) == [ann.id], "one sees oneself at once"
    assert (own[ann.id].client, own[ann.id].user, ann.decode(own[ann.id].conn_info)) == (ann.id, "ann", {"name": "ann"})

    bob, twice = await user("bob", topology.other), await user("ann", topology.other)
    for app in (bob, twice):
        await app.subscribe(channel)
    for app in (ann, bob):

        async def all_three():
            return await users(app, channel) == ["ann", "ann", "bob"]

        await eventually("both see all three", all_three)
        stats = await app.client.presence_stats(channel)
        assert (stats.num_clients, stats.num_users) == (3, 2)
    await twice.close()

    async def two():
        stats = await hall.subscription.presence_stats()
        return (stats.num_clients, stats.num_users) == (2, 2)

    await eventually("one has left", two)
    assert (await ann.client.presence(fresh("room"))).clients == {}


async def test_who_asks_for_it_is_told_of_joins_and_leaves_and_who_does_not_is_left_alone(user, topology):
    channel = fresh("room")
    told = await (await user("ann")).subscribe(channel, join_leave=True)
    await eventually("one is told of oneself", lambda: told.told == ["+ann"])
    quiet = await (await user("cay")).subscribe(channel)
    bob = await user("bob", topology.other)
    stay = await bob.subscribe(channel)
    await eventually("bob came", lambda: "+bob" in told.told)
    await stay.subscription.unsubscribe()
    await eventually("bob went", lambda: "-bob" in told.told)
    assert told.told == ["+ann", "+cay", "+bob", "-bob"]
    assert quiet.told == []


async def test_a_broken_connection_is_a_leave_and_coming_back_a_join(user, topology):
    channel = fresh("room")
    told = await (await user("ann")).subscribe(channel, join_leave=True)
    bob = await user("bob", topology.other)
    await bob.subscribe(channel)
    await eventually("bob came", lambda: "+bob" in told.told)
    await bob.while_away(topology.first, lambda: None)
    # The old connection's end and the new one's beginning are at two nodes: neither waits for the other.
    await eventually("bob went, and came", lambda: sorted(told.told) == ["+ann", "+bob", "+bob", "-bob"])
    assert bob.id in (await told.subscription.presence()).clients


async def test_a_user_who_is_back_soon_is_not_told_of(user, topology):
    channel = fresh("desk")
    told = await (await user("ann")).subscribe(channel)
    bob = await user("bob", topology.other)
    await bob.subscribe(channel)
    await eventually("bob came", lambda: "+bob" in told.told)
    await bob.while_away(topology.first, lambda: None)
    await (await user("cay", topology.other)).subscribe(channel)
    await eventually("cay came", lambda: "+cay" in told.told)
    assert told.told == ["+ann", "+bob", "+cay"]
    await bob.close()
    await eventually("bob has left for good", lambda: "-bob" in told.told)


async def test_presence_is_for_those_who_may_see_it(user, apps):
    lobby = fresh("lobby")
    ann, guest = await user("ann"), await (await apps()).ready()

    async def refusal(call):
        with pytest.raises(ReplyError) as refused:
            await call
        return refused.value.code

    assert await refusal(ann.client.presence(lobby)) == 103
    assert await refusal(ann.client.presence(fresh("chat"))) == 108
    assert await refusal(ann.client.presence_stats("nowhere:x")) == 102
    told = await ann.subscribe(lobby)
    assert await users(ann, lobby) == ["ann"]
    await eventually("told without asking", lambda: told.told == ["+ann"])
    assert await refusal(guest.client.presence(lobby)) == 103


async def test_server_side_subscriptions_are_seen_and_told_of_as_others_are(user, topology):
    channel, name = fresh("lobby"), fresh("bob")
    given = await user("ann", channels=[channel])
    # Whoever subscribes waits until it is known who is there; a connect does not.
    taken = await (await user("cay")).subscribe(channel)
    bob = await user(name, topology.other, channels=[channel])

    def of_bob(told):
        return [word for word in told if word[1:] == name]

    async def told(*words):
        for seen in (given, taken):
            await eventually(f"{words} of bob", lambda: of_bob(seen.told) == list(words))

    await told(f"+{name}")

    async def all_three():
        return await users(bob, channel) == ["ann", name, "cay"]

    await eventually("bob sees all", all_three)
    topology.first.api("unsubscribe", user=name, channel=channel)
    await eventually("bob was told to go", lambda: channel in bob.unsubscribed)
    await told(f"+{name}", f"-{name}")
    topology.first.api("subscribe", user=name, channel=channel)
    await told(f"+{name}", f"-{name}", f"+{name}")
