import t from "tap";
import { joinedPorts, type Port } from "../../src/net/port.ts";

t.test("what is posted arrives at the other's handler, in order", async (t) => {
  const heard: string[] = [];
  const [a, b] = joinedPorts<string, string>(
    (message) => heard.push(`a:${message}`),
    (message) => heard.push(`b:${message}`),
  );
  a.post("1");
  b.post("2");
  a.post("3");
  t.strictSame(heard, ["a:1", "b:2", "a:3"]);
});

t.test("a handler that posts in turn is not entered again: what it posts comes after it, in order", async (t) => {
  const heard: string[] = [];
  let inside = 0;
  const ports: [Port<number>, Port<number>] = joinedPorts<number, number>(
    (n) => {
      t.equal(inside++, 0, "no handler runs within another");
      heard.push(`a${n}`);
      if (n < 3) {
        ports[1].post(n + 1);
        ports[1].post(n + 10);
        heard.push(`a${n} ends`);
      }
      inside--;
    },
    (n) => {
      t.equal(inside++, 0);
      heard.push(`b${n}`);
      if (n < 3) ports[0].post(n + 1);
      inside--;
    },
  );
  ports[0].post(1);
  t.strictSame(heard, ["a1", "a1 ends", "b2", "b11", "a3"]);
});

t.test("a handler that throws loses nothing of what was posted", async (t) => {
  const heard: number[] = [];
  const [port] = joinedPorts<number, never>(
    (n) => {
      if (n === 1) {
        port.post(2);
        throw new Error("a bug");
      }
      heard.push(n);
    },
    () => {},
  );
  t.throws(() => port.post(1), { message: "a bug" });
  port.post(3);
  t.strictSame(heard, [2, 3]);
});
