/** docs/format.md section 1: how large a file may be. */
const MIB = 1 << 20;

export const MAX_BUNDLE = MIB;
export const MAX_COLLATERAL = MIB;
export const MAX_RECEIPT = MIB;
export const MAX_POLICY = 256 << 10;
export const MAX_CHALLENGE = 128 << 10;
export const MAX_EXCEPTIONS = 128 << 10;
export const MAX_ENTRY = 16 << 10;
/** A signed checkpoint, wherever it stands. */
export const MAX_CHECKPOINT = 128 << 10;
export const MAX_SPLIT_VIEW = Math.floor((2 * MAX_CHECKPOINT * 4) / 3) + (32 << 10);
export const MAX_TLOG_POLICY = 64 << 10;
/** No path in a tree of below 2⁶³ leaves is longer. */
export const MAX_HASHES = 63;
export const MAX_CONTRADICTION = 16 * MIB;
export const MAX_SUBMISSION = 2_797_226;
export const MAX_ENVELOPE = 3_737_828;
export const MAX_DOSSIER = 64 * MIB;
export const MAX_INDEX_WRONG = 16 * MIB;
export const MAX_STATEMENT = 4 << 10;
export const MAX_STATEMENT_ENVELOPE = 11_608;
export const MAX_OPENING = 8 << 10;
export const MAX_STATEMENT_SUBMISSION = 11_197_464;
export const MAX_REGISTRARS = MIB;
