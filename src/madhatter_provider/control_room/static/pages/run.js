// From a run of Airflow to its stream: the ledger knows which.
import { address, ask } from "../ask.js";

export async function show(main, { query }) {
  const found = await ask("api/run", Object.fromEntries(query));
  location.replace(address("stream", { name: found.stream, epoch: found.epoch, run: query.get("run_id") ?? "", replay_id: query.get("replay") ?? "" }));
}
