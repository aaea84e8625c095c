/** docs/format.md section 18.1: what a registrar signs about an identity. */
import { digest } from "./bytes.js";
import { signatures } from "./dsse.js";
import { ascending, base64, base64url, checked, constant, hex, list, number, object, oneOf, optional, parse, text, time, type Codec, type Cursor, type Of } from "./encoding.js";
import { identity } from "./identities.js";
import { MAX_STATEMENT, MAX_STATEMENT_ENVELOPE, MAX_STATEMENT_SUBMISSION } from "./limits.js";

/** An identity that statements are about: of any kind but a quote. */
export const subject = checked(identity(), (s) => !s.startsWith("quote:"), "identity that statements are about");
const label = text(1, 255);
const placeWord = checked(text(1, 64), (s) => /^[a-z0-9-]+$/.test(s), "word of a place");

const place = object({ provider: placeWord, region: optional(placeWord), zone: optional(placeWord) });

/** Where a registrar says that a machine stands. */
export type StatedPlace = Of<typeof place>;

function placed(c: Cursor): StatedPlace {
  const p = place(c);
  if (p.zone !== undefined && p.region === undefined) c.fail("a zone without a region");
  return p;
}

/** The largest document that a log keeps. */
const MAX_DOCUMENT = 1 << 20;

const anyDocument = object({ sha256: hex(32), size: number(1), type: text(1, 80), url: optional(text(8, 512)) });

function document(c: Cursor): Of<typeof anyDocument> {
  const d = anyDocument(c);
  if (d.url === undefined && d.size > MAX_DOCUMENT) c.fail("a document that no log keeps, without a URL");
  if (d.url !== undefined && !d.url.startsWith("https://")) c.fail("a URL that is not of https");
  return d;
}

const documents = ascending(list(document, 1, 8), (d) => d.sha256);

const level = number(1, 3);

const REASONS = ["key-compromise", "machine-compromised", "machine-retired", "machine-sold", "mistake", "superseded", "unspecified"] as const;

const head = <T extends string>(type: T) => ({ v: constant(1), type: oneOf(type), origin: label, registrar: text(1, 128) });
const serial = number(1);

const SHAPES = {
  endorse: object({ ...head("endorse"), subject, serial, level, method: text(1, 128), label, place: optional(placed), from: time, until: time, documents: optional(documents) }),
  revoke: object({ ...head("revoke"), subject, serial, of: optional(hex(32)), since: time, reason: oneOf(...REASONS), text: optional(label), documents: optional(documents) }),
  move: object({ ...head("move"), subject, serial, source: placed, target: placed, from: time, until: time }),
  freeze: object({ ...head("freeze"), subject, serial, text: optional(label) }),
  thaw: object({ ...head("thaw"), subject, serial, text: optional(label) }),
  commit: object({ ...head("commit"), serial, root: hex(32), count: number(1), level, from: time, until: time }),
};

type Shapes = typeof SHAPES;
/** The type of a statement. */
export type StatementType = keyof Shapes;
/** A statement of one type. */
export type StatementOf<T extends StatementType> = Of<Shapes[T]>;
/** What a registrar signs about an identity, or, of type "commit", about a fleet. */
export type Statement = { [T in StatementType]: StatementOf<T> }[StatementType];

function statement(c: Cursor): Statement {
  const type = (Object.keys(SHAPES) as StatementType[]).find((t) => c.ahead(`{"v":1,"type":"${t}"`));
  if (!type) return c.fail("want a statement of version 1 and of a type that there is");
  const s = (SHAPES[type] as Codec<Statement>)(c);
  if ("until" in s && s.until <= s.from) c.fail("until is not later than from");
  return s;
}

/** Reads a statement. Whether its registrar said so, the envelope shows. */
export function parseStatement(file: Uint8Array): Statement {
  return parse(file, MAX_STATEMENT, statement);
}

const anyEnvelope = object({
  payloadType: oneOf("application/vnd.poclog.statement+json"),
  payload: base64(MAX_STATEMENT),
  signatures,
});

/** A statement with signatures on it. */
export type StatementEnvelope = Of<typeof anyEnvelope> & {
  statement: Statement;
  /** The digest of the statement's file: what a revocation names. */
  digest: string;
};

/** An envelope where it stands in a file. */
export function statementEnvelope(c: Cursor): StatementEnvelope {
  const e = anyEnvelope(c);
  return { ...e, statement: parseStatement(e.payload), digest: digest(e.payload) };
}

/** Reads a statement's DSSE envelope. No signature is verified. */
export function parseStatementEnvelope(file: Uint8Array): StatementEnvelope {
  return parse(file, MAX_STATEMENT_ENVELOPE, statementEnvelope);
}

const anySubmission = object({ v: constant(1), envelope: statementEnvelope, documents: optional(list(base64url(MAX_DOCUMENT), 1, 8)) });

/** A statement with the documents that a log is to keep. */
export type StatementSubmission = Of<typeof anySubmission>;

/** The documents are some of those that the statement names without URL, in its order. */
function submission(c: Cursor): StatementSubmission {
  const s = anySubmission(c);
  const { statement } = s.envelope;
  const named = (("documents" in statement && statement.documents) || []).filter((d) => d.url === undefined);
  let at = 0;
  for (const d of s.documents ?? []) {
    const sha256 = digest(d);
    while (at < named.length && named[at]?.sha256 !== sha256) at++;
    if (named[at++]?.size !== d.length) c.fail("a document that the statement does not name, or names before another");
  }
  return s;
}

/** Reads what brings a log a statement with documents. */
export function parseStatementSubmission(file: Uint8Array): StatementSubmission {
  return parse(file, MAX_STATEMENT_SUBMISSION, submission);
}
