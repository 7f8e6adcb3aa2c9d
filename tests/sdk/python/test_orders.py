"""What a backend orders at one node takes effect on live connections at another: over both wires, as this SDK sees it."""

from app import eventually, fresh, now, token


def call(topology, method, **params):
    assert topology.first.api(method, **params) == {}


async def come(apps, topology, user, **options):
    claims = {"sub": user, "exp": now(300)}
    return await (await apps(topology.other, **{"token": token(**claims), **options})).ready()


async def test_a_backend_subscribes_a_user_from_a_position_and_ends_it(apps, topology):
    user, channel = fresh("ada"), fresh("chat")
    ada, stranger = await come(apps, topology, user), await come(apps, topology, fresh("eve"))
    since = topology.first.publish(channel, 1)
    topology.first.publish(channel, 2)
    call(topology, "subscribe", user=user, channel=channel, data={"welcome": "ada"}, recover_since=since)
    mine = lambda seen: [each for each in seen if each.channel == channel]
    await eventually("subscribed", lambda: mine(ada.subscribed))
    assert ada.decode(mine(ada.subscribed)[0].data) == {"welcome": "ada"}
    topology.first.publish(channel, 3)
    await eventually("it hears", lambda: mine(ada.publications) and ada.decode(mine(ada.publications)[-1].pub.data) == 3)
    call(topology, "unsubscribe", user=user, channel=channel)
    await eventually("it is over", lambda: channel in ada.unsubscribed)
    assert mine(stranger.subscribed) == []


async def test_without_a_channel_all_of_a_users_subscriptions_end_and_the_connection_stays(apps, topology):
    user, given = fresh("ada"), fresh("chat")
    claims = {"sub": user, "exp": now(300), "channels": [given]}
    ada = await come(apps, topology, user, token=token(**claims))
    listeners = [await ada.subscribe(fresh(name)) for name in ("chat", "room")]
    call(topology, "unsubscribe", user=user)
    for listener in listeners:
        assert await listener.refusal() == 2000
    await eventually("the server's, too", lambda: {given, f"personal:#{user}"} <= set(ada.unsubscribed))
    assert ada.disconnected is None and len(ada.connected) == 1


async def test_a_backend_shortens_a_connections_time_or_ends_it(apps, topology):
    user = fresh("ada")

    async def get_token():
        return token(sub=user, exp=now(300))

    ada = await come(apps, topology, user, get_token=get_token)
    call(topology, "refresh", user=user, expire_at=now(600))
    call(topology, "refresh", user=user, expire_at=now(1))
    await eventually("its time is over, and it comes back", lambda: len(ada.connected) == 2)
    assert ada.connecting[-1].code == 3005
    call(topology, "refresh", user=user, expired=True)
    await eventually("at once", lambda: len(ada.connected) == 3)
    assert ada.connecting[-1].code == 3005


async def test_a_backend_gives_a_connection_another_info(apps, topology):
    user, room = fresh("ada"), fresh("room")
    ada = await come(apps, topology, user, token=token(sub=user, exp=now(300), info={"name": "Ada"}))
    hall = await ada.subscribe(room)
    call(topology, "refresh", user=user, client=ada.id, expire_at=now(300), info={"name": "Countess"})

    async def renamed():
        clients = (await hall.subscription.presence()).clients
        return ada.decode(clients[ada.id].conn_info) == {"name": "Countess"}

    await eventually("it is seen as another", renamed)


async def test_a_revoked_token_ends_the_connection_that_came_with_it_and_opens_no_other(apps, topology):
    user, name = fresh("ada"), fresh("token")
    revoked, kept = token(sub=user, exp=now(300), jti=name), token(sub=user, exp=now(300), jti=fresh("token"))
    ada, tablet = await come(apps, topology, user, token=revoked), await come(apps, topology, user, token=kept)
    call(topology, "revoke_token", uid=name, expire_at=now(300))
    await eventually("it is sent away", lambda: ada.disconnected)
    again = await apps(topology.first, token=revoked)
    await eventually("it is not let in again", lambda: again.disconnected)
    assert [each.disconnected.code for each in (ada, again)] == [3500, 3500]
    assert tablet.disconnected is None and len(tablet.connected) == 1


async def test_tokens_of_a_user_that_are_older_than_a_moment_end_and_newer_ones_stay(apps, topology):
    user = fresh("ada")
    older, newer = (token(sub=user, exp=now(300), iat=now(age)) for age in (-100, -10))
    ada, tablet = await come(apps, topology, user, token=older), await come(apps, topology, user, token=newer)
    call(topology, "invalidate_user_tokens", user=user, issued_before=now(-50), expire_at=now(300))
    await eventually("the older one is sent away", lambda: ada.disconnected)
    assert ada.disconnected.code == 3500
    assert tablet.disconnected is None and len(tablet.connected) == 1


async def test_a_revoked_subscription_token_ends_the_subscription_alone(apps, topology):
    user, name, channel = fresh("ada"), fresh("token"), "$" + fresh("private")
    ada = await come(apps, topology, user)
    listener = await ada.subscribe(channel, token=token(sub=user, channel=channel, exp=now(300), jti=name))
    call(topology, "revoke_token", uid=name, expire_at=now(300))
    assert await listener.refusal() == 2000
    assert ada.disconnected is None and len(ada.connected) == 1
