/** The vectors in testdata, which both implementations are held to. */
import { readdirSync, readFileSync } from "node:fs";

const ROOT = new URL("../../", import.meta.url);

/** Each vector of a folder with its name. */
export function vectors<T>(folder: string): [string, T][] {
  const at = new URL(folder + "/", ROOT);
  const names = readdirSync(at).filter((n) => n.endsWith(".json"));
  if (names.length === 0) throw new Error(`${folder} has no vectors`);
  return names.map((n) => [n, JSON.parse(readFileSync(new URL(n, at), "utf8")) as T]);
}

export function octets(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
