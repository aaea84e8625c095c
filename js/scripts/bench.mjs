// How long checks take: a receipt with two cosignatures and ML-DSA-44, and dossiers of 1, 100 and 10,000 entries.
import { readFileSync } from "node:fs";
import { checkDossier, checkReceipt, parseDossier, parsePolicy } from "../dist/index.js";
import { leafHash } from "../dist/merkle.js";
import { dossierOf, policy as dossierPolicy } from "./dossiers.mjs";

const folder = new URL("../../testdata/receipts/", import.meta.url);

/** Milliseconds of the first run and, of so many more, of the processor a run, the median, the 90th percentile and the least. */
function time(run, runs) {
  let start = performance.now();
  run();
  const first = performance.now() - start;
  const times = [];
  const cpu = process.cpuUsage();
  for (let i = 0; i < runs; i++) {
    start = performance.now();
    run();
    times.push(performance.now() - start);
  }
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (q) => times[Math.floor(q * (times.length - 1))].toFixed(1);
  return { first, cpu: (user + system) / 1000 / runs, p50: at(0.5), text: `processor ${((user + system) / 1000 / runs).toFixed(1)} ms; p50 ${at(0.5)}, p90 ${at(0.9)}, min ${at(0)} ms of ${runs}` };
}

function passed(verdict) {
  if (verdict.refused) throw new Error(`${verdict.refused.id}: ${verdict.refused.detail}`);
  return verdict;
}

for (const name of ["valid.json", "valid-mldsa.json"]) {
  const v = JSON.parse(readFileSync(new URL(name, folder), "utf8"));
  const receipt = new TextEncoder().encode(v.receipt);
  const check = () => passed(checkReceipt(receipt, parsePolicy(v.policy), { now: new Date(v.time) }));
  const { first, text } = time(check, 100);
  console.log(`receipt ${name}, ${receipt.length} bytes: first ${first.toFixed(1)} ms; then ${text}`);
}

for (const n of [1, 100, 10_000]) {
  const { file, leaves, now } = dossierOf(n);
  const policy = parsePolicy(dossierPolicy);
  const runs = Math.max(5, Math.min(100, Math.round(2000 / n)));
  const names = passed(checkDossier(file, policy, { now })).names;
  if (names[0].numbers.length !== n) throw new Error(`${names[0].numbers.length} entries: want ${n}`);
  const hashing = time(() => leaves.forEach(leafHash), runs);
  const parsing = time(() => parseDossier(file), runs);
  const checking = time(() => passed(checkDossier(file, policy, { now })), runs);
  console.log(
    `dossier of ${n} entries: ${file.length} bytes; hashing the leaves ${hashing.cpu.toFixed(1)} ms, parsing ${parsing.cpu.toFixed(1)} ms, checking, parsing included, ${checking.text}; ` +
      `${(checking.cpu / hashing.cpu).toFixed(1)} times the hashing`,
  );
}
