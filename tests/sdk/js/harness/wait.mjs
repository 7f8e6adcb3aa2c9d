// Waiting for conditions, never for time.
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Polls `probe` until it returns something truthy, and returns that. Fails with what it saw last; at once when it throws
 * an error that is `final`.
 */
export async function eventually(what, probe, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      if (error.final) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}; last seen: ${inspect(last)}`);
    await pause(20);
  }
}

/** `promise`, or a failure that says what did not come. */
export async function within(what, promise, seconds = 20) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${seconds} s: ${what}`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function inspect(value) {
  return value instanceof Error ? value.message : JSON.stringify(value);
}

/** Something that no waiting will mend. */
export function final(message) {
  return Object.assign(new Error(message), { final: true });
}
