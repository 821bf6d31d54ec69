import t from "tap";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { sessionStoreConformance } from "./session-store-conformance.ts";

sessionStoreConformance(t, () => new MemorySessionStore());
t.test("on a machine that says which boot this is", async (t) =>
  sessionStoreConformance(
    t,
    () => new MemorySessionStore("this-boot"),
    () => "this-boot",
  ),
);
