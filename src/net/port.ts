/**
 * What a stream and its session say to each other goes through a port: plain data that could as well cross a thread.
 * This one stays on the thread and keeps the order of what is posted, also when a handler posts in turn.
 */
export interface Port<Out> {
  post(message: Out): void;
}

/** Two joined ports: what is posted on one arrives at the other's handler, in order. */
export function joinedPorts<A, B>(onA: (message: A) => void, onB: (message: B) => void): [Port<A>, Port<B>] {
  const queue: (() => void)[] = [];
  let draining = false;
  const run = (deliver: () => void) => {
    queue.push(deliver);
    if (draining) return;
    draining = true;
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) next();
    } finally {
      draining = false;
    }
  };
  return [{ post: (message) => run(() => onA(message)) }, { post: (message) => run(() => onB(message)) }];
}
