// Offsets beyond 2^53 (trap 3), of a stream that begins there. They go over the wire as they are; the JS SDK rounds them, in
// JSON and in Protobuf, and a rounded position must never pass for the one that it stands for.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, NatsServer, Raw, Topology, eventually, fresh, jetstream, streamOf, wires } from './harness.mjs';
import { withApps } from './suite.mjs';

const FIRST = 2n ** 53n + 1n;

/** One node, with a stream of the namespace `chat` that begins at `FIRST`. */
async function farAhead() {
  const topology = await Topology.start(1, await NatsServer.start());
  const client = await topology.backend();
  const stream = await streamOf(client, 'chat');
  const { config } = await jetstream(client, `STREAM.INFO.${stream}`);
  await topology.first.stop();
  await jetstream(client, `STREAM.DELETE.${stream}`);
  const wanted = JSON.stringify(config).replace('{', `{"first_seq":${FIRST},`); // JSON.stringify cannot write it
  const created = await client.request(`$JS.API.STREAM.CREATE.${stream}`, wanted, { timeout: 5000 });
  assert.match(created.string(), new RegExp(`"first_seq":${FIRST}[,}]`));
  await topology.first.run();
  return topology;
}

describe('offsets beyond 2^53', { timeout: 120_000 }, () => {
  let topology;
  before(async () => (topology = await farAhead()));
  after(() => topology?.stop());

  /** Publishes 1, 2, … until an offset fits: those offsets, as they were written. */
  const publishUntil = async (channel, fits) => {
    const offsets = [];
    do {
      const response = await fetch(`${topology.first.url}/api/publish`, {
        method: 'POST',
        headers: { 'x-api-key': 'test-api-key' },
        body: JSON.stringify({ channel, data: offsets.length + 1 }),
      });
      offsets.push(BigInt((await response.text()).match(/"offset":(\d+)/)[1]));
    } while (!fits(offsets.at(-1)));
    return offsets;
  };

  test('are exact on the wire, in live publications, recovery and history', withApps(async keep => {
    const channel = fresh('chat');
    const live = keep(await Raw.connect(topology.first));
    const { subscribe: { epoch } } = await live.ask({ id: 2, subscribe: { channel } });
    const offsets = await publishUntil(channel, offset => offset % 2n === 1n);
    const [since] = offsets.splice(-1); // odd, and so known exactly
    const later = [...(await publishUntil(channel, () => true)), ...(await publishUntil(channel, () => true))];
    const written = connection => connection.frames.map(({ data }) => data.toString()).join('\n').match(/"offset":\d+/g).map(each => BigInt(each.slice(9)));
    await eventually('all arrive', () => live.publications(channel).length === offsets.length + 3);
    assert.deepEqual(written(live).slice(1), [...offsets, since, ...later]);

    const position = `"offset":${since},"epoch":"${epoch}"`;
    const back = keep(await Raw.connect(topology.first));
    back.send(`{"id":2,"subscribe":{"channel":"${channel}","recover":true,${position}}}`);
    assert.equal((await back.reply(2)).subscribe.recovered, true);
    assert.deepEqual(written(back), [...later, since]);
    back.send(`{"id":3,"history":{"channel":"${channel}","limit":10,"since":{${position}}}}`);
    assert.equal((await back.reply(3)).history.publications.length, 2);
    assert.deepEqual(written(back).slice(3), [...later, later.at(-1)]);
  }));

  for (const wire of wires) {
    for (const [how, rest] of [['up', 3n], ['down', 1n]]) {
      test(`${wire}: an SDK that rounds its position ${how} is told that it may have missed something`, withApps(async keep => {
        const channel = fresh('chat');
        const ada = await keep(new App(wire, topology.first)).connect();
        const listener = await ada.subscribe(channel);
        const offsets = await publishUntil(channel, offset => offset % 4n === rest);
        await listener.received(offsets.length);
        const rounded = listener.offsets.at(-1);
        assert.notEqual(BigInt(rounded), offsets.at(-1), 'else this test shows nothing');
        await ada.whileAway(topology.first, () => topology.first.publish(channel, 'missed'));
        await eventually('subscribed again', () => listener.subscribed.length === 2);
        assert.deepEqual([listener.subscribed[1].wasRecovering, listener.subscribed[1].recovered], [true, false]);
        const since = { offset: rounded, epoch: listener.subscribed[1].streamPosition.epoch };
        await assert.rejects(ada.centrifuge.history(channel, { limit: 10, since }), { code: 112 });
        await topology.first.publish(channel, 'end');
        await eventually('it goes on', () => listener.data.at(-1) === 'end');
        assert.equal(listener.data.length, offsets.length + 1, 'nothing twice');
      }));
    }
  }
});
