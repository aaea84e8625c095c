// How long it takes to check a receipt with two cosignatures and ML-DSA-44, warm and cold.
import { readFileSync } from "node:fs";
import { checkReceipt, parsePolicy } from "../dist/index.js";

const folder = new URL("../../testdata/receipts/", import.meta.url);

function check(name) {
  const v = JSON.parse(readFileSync(new URL(name, folder), "utf8"));
  const receipt = new TextEncoder().encode(v.receipt);
  const policy = parsePolicy(v.policy);
  return () => checkReceipt(receipt, policy, { now: new Date(v.time) });
}

function measure(name, runs) {
  const run = check(name);
  const start = performance.now();
  const verdict = run();
  const first = performance.now() - start;
  if (verdict.refused) throw new Error(`${name}: ${verdict.refused.id}: ${verdict.refused.detail}`);
  const times = [];
  const cpu = process.cpuUsage();
  for (let i = 0; i < runs; i++) {
    const t = performance.now();
    run();
    times.push(performance.now() - t);
  }
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (q) => times[Math.floor(q * (times.length - 1))].toFixed(1);
  const mean = ((user + system) / 1000 / runs).toFixed(1);
  console.log(`${name}: first ${first.toFixed(1)} ms; then processor ${mean} ms; p50 ${at(0.5)}, p90 ${at(0.9)}, min ${at(0)} ms of ${runs}`);
}

measure("valid.json", 100);
measure("valid-mldsa.json", 100);
