/** docs/format.md section 1: how large a file may be. */
const MIB = 1 << 20;

export const MAX_BUNDLE = MIB;
export const MAX_COLLATERAL = MIB;
export const MAX_RECEIPT = MIB;
export const MAX_POLICY = 256 << 10;
export const MAX_CHALLENGE = 128 << 10;
export const MAX_ENTRY = 16 << 10;
export const MAX_CONTRADICTION = 16 * MIB;
export const MAX_SUBMISSION = 2_797_226;
export const MAX_ENVELOPE = 3_737_828;
