// pg-boss with LISTEN/NOTIFY and without pauses while batches come back full.
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { writeSync } from "node:fs";
const require = createRequire(fileURLToPath(new URL("../../../.bench/node/package.json", import.meta.url)));
const { PgBoss } = await import(pathToFileURL(require.resolve("pg-boss")).href);

const [verb, connectionString, said] = process.argv.slice(2);
const options = JSON.parse(said);
const boss = new PgBoss({ connectionString, useListenNotify: true });
boss.on("error", (error) => console.error(error));
await boss.start();

if (verb === "install") {
  await boss.createQueue("noop", { notify: true });
  await boss.createQueue("other", { notify: true });
  await boss.stop({ graceful: false });
  process.exit(0);
}
const batchSize = options.batch ?? options.slots ?? 10;
await boss.work(
  options.other ? "other" : "noop",
  { batchSize, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 30 },
  async (jobs) => {
    if (options.report) for (const _ of jobs) writeSync(1, `${process.hrtime.bigint()}\n`);
  },
);
process.on("SIGTERM", () => process.exit(0));
await new Promise((resolve) => setTimeout(resolve, 1000));
writeSync(1, "ready\n");
