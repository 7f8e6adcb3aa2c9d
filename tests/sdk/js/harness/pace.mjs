// How fast clients come.
import assert from 'node:assert/strict';

/** Seconds: the last quarter of one is sent away at once, and who was sent away may be a second late. */
const SLACK = 1.25;

/** The moments (ms) at which `apps` connect from now on. */
export function arrivals(apps) {
  const moments = [];
  for (const { centrifuge } of apps) centrifuge.on('connected', () => moments.push(performance.now()));
  return moments;
}

/** Fails where more come in some stretch of time than `rate` a second, and where so few come that no pace would show. */
export function noFasterThan(rate, moments) {
  assert.ok(moments.length > SLACK * rate, `${moments.length} are too few to tell`);
  for (const [first, from] of moments.entries()) {
    for (const [further, to] of moments.slice(first).entries()) {
      const [came, seconds] = [further + 1, (to - from) / 1000];
      assert.ok(came <= (seconds + SLACK) * rate, `${came} came in ${seconds} s, ${rate} a second may`);
    }
  }
}
