// Package query answers questions from what a monitor has read: which VMs, chips and places were
// proven, what entries say of an identity, when fresh proofs covered a machine, and whether the
// chip of a quote is proven to stand somewhere.
//
// What it promises:
//   - Every answer is derived from verified leaves alone: each entry was proven to be in its log's
//     tree, and nobody is asked.
//   - A place is proven only where a proof of level 2 names it by what authenticated evidence says.
//     Hints and level 0 are listed apart, and only where they are asked for.
//   - Answers name the entries that they stand on, so that [ReceiptOf] gives what convinces others.
//   - No answer says that something did not happen: it says what was not read by the cursor of each
//     log.
//
// What it does not promise: that an entry is what its evidence gives. That is the log's word until
// its evidence was appraised again, by an auditor or by a monitor that found a reason. [Quotes]
// leaves out the entries of logs that are shown to lie.
//
// Package web answers the same over HTTP. TestListCVMsEqualsTheGroundTruth and
// TestCoverageAgreesWithCountingMinutes are the evidence.
package query
