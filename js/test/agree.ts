/**
 * Answers what this module makes of a file, one JSON line for each asked on standard input. The Go
 * test in internal/agree asks both implementations and compares.
 */
import { createInterface } from "node:readline";
import { answer } from "./answer.js";

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on("line", (line) => {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
});
