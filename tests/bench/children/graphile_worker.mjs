// graphile-worker: `batch` switches on its local queue and batched completions, as its performance page does.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { writeSync } from "node:fs";
const require = createRequire(fileURLToPath(new URL("../../../.bench/node/package.json", import.meta.url)));
const { run, runMigrations, Logger } = require("graphile-worker");

const [verb, connectionString, said] = process.argv.slice(2);
const options = JSON.parse(said);
const logger = new Logger(() => () => {});

if (verb === "install") {
  await runMigrations({ connectionString, logger });
  process.exit(0);
}
const batched = options.batch
  ? { localQueue: { size: options.batch, ttl: 300000 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
  : {};
const name = options.other ? "other" : "noop";
const runner = await run({
  logger,
  noHandleSignals: true,
  parsedCronItems: [],
  taskList: {
    [name]: () => {
      if (options.report) writeSync(1, `${process.hrtime.bigint()}\n`);
    },
  },
  preset: {
    worker: { connectionString, concurrentJobs: options.slots ?? 10, maxPoolSize: (options.slots ?? 10) + 2, ...batched },
  },
});
process.on("SIGTERM", () => runner.stop().then(() => process.exit(0), () => process.exit(1)));
await new Promise((resolve) => setTimeout(resolve, 1000));
writeSync(1, "ready\n");
