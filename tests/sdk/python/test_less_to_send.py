"""Patches in place of whole publications (fossil delta), and subscriptions to a part of them by their tags."""

import pytest
from centrifuge import CentrifugeError, DeltaType, Filter

from app import eventually, fresh, heard

PATCHES = {"delta": DeltaType.FOSSIL}
GERMAN = {"tags_filter": Filter.eq("lang", "de")}


def version(n):
    """A document of which a few places change, with letters of many bytes at their edges."""
    return {
        "title": "Größe → 🦀 «überall»",
        "n": n,
        "words": ["→ä" * (n % 7), "naïve café", f"№{n}", "🦀" * (n % 3), "ß" * 40],
        "quote": '"\\"\n\u2028',
        "rest": "the same every time, and long enough to be worth a patch. " * 4,
    }


def versions(first, last):
    return [version(n) for n in range(first, last + 1)]


def publish_versions(node, channel, first, last, **more):
    for n in range(first, last + 1):
        node.publish(channel, version(n), **more)


def publish_tagged(node, channel, first, last):
    """Numbers, every second in German, priced by their number."""
    for n in range(first, last + 1):
        node.publish(channel, n, tags={"lang": "fr" if n % 2 else "de", "price": f"{n}.50"})


async def test_who_asks_for_patches_gets_every_publication_whole_and_the_others_as_before(apps, topology):
    channel = fresh("patched")
    patched = await (await (await apps()).ready()).subscribe(channel, **PATCHES)
    plain = await (await (await apps()).ready()).subscribe(channel)
    publish_versions(topology.other, channel, 1, 50)
    assert await patched.received(50) == versions(1, 50)
    assert await plain.received(50) == versions(1, 50)
    assert [pub.delta for pub in patched.publications] == [False] + [True] * 49
    assert not any(pub.delta for pub in plain.publications)
    assert [pub.offset for pub in patched.publications] == [pub.offset for pub in plain.publications]


async def test_what_was_missed_comes_as_patches_too_and_live_ones_go_on_from_there(apps, topology):
    channel = fresh("patched")
    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel, **PATCHES)
    publish_versions(topology.other, channel, 1, 5)
    await listener.received(5)
    await ada.while_away(topology.other, lambda: publish_versions(topology.other, channel, 6, 30))
    publish_versions(topology.other, channel, 31, 40)
    assert await listener.received(40) == versions(1, 40)
    assert listener.subscribed[1].recovered
    whole = [pub for pub in listener.publications if not pub.delta]
    assert len(whole) <= 3, f"{len(whole)} came whole"


async def test_without_history_too_where_the_publisher_asks_for_it(apps, topology):
    channel = fresh("loose")
    listener = await (await (await apps()).ready()).subscribe(channel, **PATCHES)
    await heard(topology, channel, listener)
    publish_versions(topology.other, channel, 1, 3, delta=True)
    publish_versions(topology.other, channel, 4, 6)
    assert await listener.received(6) == versions(1, 6)
    assert [pub.delta for pub in listener.publications[1:]] == [True, True, False, False, False]


async def test_small_different_and_repeated_publications_arrive_as_they_are(apps, topology):
    channel = fresh("patched")
    listener = await (await (await apps()).ready()).subscribe(channel, **PATCHES)
    values = [1, "text", None, [], {}, version(1), version(1), "x" * 500, version(1), [version(1), version(2)], False]
    for value in values:
        topology.other.publish(channel, value)
    assert await listener.received(len(values)) == values


async def test_the_latest_state_comes_first_whole_and_patches_follow(apps, topology):
    channel = fresh("state")
    publish_versions(topology.other, channel, 1, 3)
    listener = await (await (await apps()).ready()).subscribe(channel, **PATCHES)
    publish_versions(topology.other, channel, 4, 5)
    assert await listener.received(3) == versions(3, 5)
    assert [pub.delta for pub in listener.publications] == [False, True, True]


async def test_each_gets_what_passes_its_filter_and_who_has_none_everything(apps, topology):
    channel = fresh("patched")
    expected = [
        (Filter.eq("lang", "de"), [2, 4, 6]),
        (Filter.lt("price", "3.5"), [1, 2]),
        (Filter.all(Filter.eq("lang", "de"), Filter.negate(Filter.gte("price", "4.5"))), [2]),
        (Filter.any(Filter.is_in("lang", ["fr", "it"]), Filter.starts_with("price", "6")), [1, 3, 5, 6]),
        (Filter.not_exists("nothing"), [1, 2, 3, 4, 5, 6]),
        (None, [1, 2, 3, 4, 5, 6]),
    ]
    listeners = [await (await (await apps()).ready()).subscribe(channel, tags_filter=wanted) for wanted, _ in expected]
    publish_tagged(topology.other, channel, 1, 6)
    for (wanted, numbers), listener in zip(expected, listeners):
        assert await listener.received(len(numbers)) == numbers, wanted


async def test_what_passes_a_filter_is_recovered_and_nothing_counts_as_lost(apps, topology):
    channel = fresh("patched")
    ada = await (await apps()).ready()
    listener = await ada.subscribe(channel, **GERMAN)
    publish_tagged(topology.other, channel, 1, 4)
    await listener.received(2)
    await ada.while_away(topology.other, lambda: publish_tagged(topology.other, channel, 5, 9))
    await eventually("subscribed again", lambda: len(listener.subscribed) == 2)
    assert listener.subscribed[1].recovered
    publish_tagged(topology.other, channel, 10, 10)
    assert await listener.received(5) == [2, 4, 6, 8, 10]
    assert 2500 not in [ctx.code for ctx in listener.subscribing]


async def test_another_filter_holds_from_the_next_subscribe_on(apps, topology):
    channel = fresh("patched")
    listener = await (await (await apps()).ready()).subscribe(channel, **GERMAN)
    listener.subscription.set_tags_filter(Filter.eq("lang", "fr"))
    publish_tagged(topology.other, channel, 1, 2)
    assert await listener.received(1) == [2]
    await listener.subscription.unsubscribe()
    await listener.subscription.subscribe()
    await eventually("subscribed again", lambda: len(listener.subscribed) == 2)
    publish_tagged(topology.other, channel, 3, 5)
    assert await listener.received(3) == [2, 3, 5]


async def test_a_filter_that_is_wrong_or_not_allowed_is_refused_with_107(apps):
    ada = await (await apps()).ready()
    for wanted in [Filter.eq("lang", ""), Filter.all(), Filter.is_in("lang", [])]:
        assert await (await ada.listen(fresh("patched"), tags_filter=wanted)).refusal() == 107, wanted
    assert await (await ada.listen(fresh("chat"), **GERMAN)).refusal() == 107
    assert ada.disconnected is None


async def test_patches_and_a_filter_at_once_are_refused_by_the_sdk_itself(apps):
    ada = await (await apps()).ready()
    with pytest.raises(CentrifugeError):
        ada.client.new_subscription(fresh("patched"), **PATCHES, **GERMAN)
