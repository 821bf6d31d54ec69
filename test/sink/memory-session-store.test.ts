import t from "tap";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { sessionStoreConformance } from "./session-store-conformance.ts";

sessionStoreConformance(t, () => new MemorySessionStore());
