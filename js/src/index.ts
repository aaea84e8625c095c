/**
 * Checks Proof-of-Cloud receipts, dossiers, contradictions and split views, without a network and without
 * trust in whoever sent them. Written from docs/format.md; section numbers are that page's.
 *
 * Every function takes octets that may come from anybody. Nothing but PoclogError is thrown.
 */
export { PoclogError } from "./errors.js";
export { parseIdentity } from "./identities.js";
export { parseBundle, bundleProfile, ITEMS, type Bundle, type Item } from "./bundle.js";
export { parseCollateral, type Collateral, type CollateralItem } from "./collateral.js";
export { parseChallenge, nonce, type Challenge } from "./challenge.js";
export { parseAppraisalPolicy, type AppraisalPolicy } from "./appraisalpolicy.js";
export { parseEntry, type Entry, type Proof, type Config, type Index, type StatementEntry, type Unknown, type Endorsement } from "./entry.js";
export { parsePolicy, type Policy } from "./tlogpolicy.js";
export { parseReceipt, type Receipt } from "./receipt.js";
export { checkReceipt, type Verdict, type Question } from "./verdict.js";
export { type Demands } from "./demands.js";
export { checkSplitView, parseSplitView, type SplitView, type SplitViewVerdict } from "./splitview.js";
export { parseExceptions, type Exceptions } from "./exceptions.js";
export { parseSubmission, parseEnvelope, checkPublishers, type Submission, type Envelope } from "./submission.js";
export { checkContradiction, type ContradictionVerdict, type ContradictionQuestion } from "./contradiction.js";
export { parseContradiction, type Contradiction } from "./contradictionfile.js";
export { checkDossier, type DossierVerdict, type DossierQuestion, type Covered } from "./dossier.js";
export { parseDossier, parseIndexWrong, type Dossier, type IndexWrong } from "./dossierfile.js";
export { checkIndexWrong, type IndexWrongVerdict } from "./indexwrong.js";
export { parseStatement, parseStatementEnvelope, parseStatementSubmission, type Statement, type StatementEnvelope, type StatementOf, type StatementType, type StatedPlace, type StatementSubmission } from "./statement.js";
export { parseRegistrars, pin, type Registrar, type Registrars } from "./registrar.js";
export { type Announced, type Subject } from "./subjects.js";
export { admitStatement, standings, type Scope, type Standing, type Stated } from "./standing.js";
export { checkOpening, parseOpening, type Opening } from "./opening.js";
export { compareAll as findings, type Found, type Placed } from "./classes.js";
export { type Step, type State } from "./steps.js";
export { compareEntries, type Claim as Compared, type Finding, type Severity } from "./rules.js";
