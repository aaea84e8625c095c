package main

import (
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// stepExplanations are those of the steps in which receipts, dossiers and contradictions are
// checked. A step that has the name of a check is explained there.
var stepExplanations = []explanation{
	{string(receipt.StepCheckpoint), "step", "A log of your policy signed the checkpoint, and your policy's quorum of witnesses saw it.",
		"It refuses a checkpoint that is another log's, that too few witnesses signed, or that carries a wrong signature.", "",
		"See whom you trust: `poclog policy show`. More witnesses may have signed since: `poclog refresh FILE -o FILE --force`."},
	{string(receipt.StepInclusion), "step", "The entry is in the tree of the checkpoint.", "It refuses a receipt whose entry or proof was changed.", "",
		"Get the receipt again from whoever made it. If it came from the log itself, keep the file and ask the operator."},
	{string(receipt.StepFirst), "step", "The entry was already in the tree of the checkpoint that covered it first.", "It refuses a receipt that was put together from two histories.", "",
		"Get the receipt again. If it came from the log itself, keep the file: it may convict the log."},
	{string(receipt.StepChallenge), "step", "The receipt carries the challenge's checkpoint that its entry names.", "It refuses a receipt without it, or with another.", "",
		"Get the receipt again: `poclog submit` of the same bundle gives it."},
	{string(receipt.StepExceptions), "step", "Auditors' notes are signed, and on the tree of the receipt.", "It refuses a note on another tree, or with a wrong signature.", "",
		"Get the receipt again: `poclog refresh FILE -o FILE --force`."},
	{string(receipt.StepInterval), "step", "The log judged the evidence between the challenge and the first checkpoint that covers the entry (60 s are tolerated).", "It refuses a log whose clock was wrong.", "",
		"Ask the log's operator: the log logged what it must refuse."},
	{string(receipt.StepReappraisal), "step", "The evidence at hand is the entry's, and judging it again gives the same entry.", "It refuses other files than those that were judged, and an entry that the evidence does not support.", "",
		"Give the files that the entry names by digest (`poclog inspect FILE` shows them): --bundle, --collateral, --envelope, --appraisal."},
	{string(receipt.StepConsistency), "step", "Of a split view: no tree has both of its checkpoints.", "It refuses two checkpoints of one history.", "", "The file proves nothing against the log."},
	{string(receipt.StepClaims), "step", "Of a contradiction: its receipts are of two entries that can be compared.", "It refuses entries of another number or kind than the rule takes.", "", "The file proves nothing."},
	{string(receipt.StepOrder), "step", "Of a contradiction: the older entry is in the tree of the newer one's challenge.", "It refuses entries whose order nothing shows.", "", "The file proves nothing."},
	{string(receipt.StepRule), "step", "Of a contradiction: the rule, run again, finds what the file says.", "It refuses entries that agree.", "", "The file proves nothing. --move-time and --swap-time are your own limits."},
	{string(dossier.StepIndex), "step", "Of a dossier: its receipt is of an index entry of the log, and names the dossier's checkpoint.", "It refuses another entry, another checkpoint, and an index of an unknown algorithm.", "", getDossierAgain},
	{string(dossier.StepMap), "step", "Of a dossier: each name's proof leads to the root of the index.", "It refuses lists that the log did not commit to.", "", getDossierAgain},
	{string(dossier.StepNumbers), "step", "Of a dossier: each name's list of entries is complete.", "It refuses a list from which an entry was left out.", "", getDossierAgain},
	{string(dossier.StepEntries), "step", "Of a dossier: the entries are those that its names list.", "It refuses entries that are missing, added or changed.", "", getDossierAgain},
	{string(dossier.StepTree), "step", "Of a dossier: the entries are in the tree of its receipt.", "It refuses entries of another tree.", "", getDossierAgain},
	{string(dossier.StepTimes), "step", "Of a dossier: the checkpoints that show times belong to its entries.", "It refuses checkpoints of others.", "", getDossierAgain},
	{string(dossier.StepWrong), "step", "Of a wrong index: the log's own index contradicts its own entry.", "It refuses an index that is right.", "", "The file proves nothing against the log."},
	{string(dossier.StepDossier), "demand", "The dossier clears the receipt: it is of the same log, lists everything that names the receipt's identities, and nothing contradicts.",
		"It refuses a dossier that is of another log, or older than the receipt, or in which something contradicts.", "",
		"Get one: `poclog dossier FILE --log URL -o vm.dossier.json`. If something contradicts, `poclog verify vm.dossier.json` shows it."},
	{string(dossier.StepStanding), "demand", "No registrar that you pinned has frozen the machine, or revoked it as of a date before the proof.",
		"It refuses a machine that is under investigation or was revoked, and a dossier that does not say what was stated.", "",
		"Ask the registrar. `poclog registry show IDENTITY --dossier FILE` lists what was stated. Whom you believe is yours to say: `poclog registry trust --list`."},
}

const getDossierAgain = "Get it again: `poclog dossier NAME --log URL -o FILE --force`. If the log gives the same again, keep the file and ask the operator."

// demandExplanations are those of what readers ask, by the names of flags.
var demandExplanations = []explanation{
	{"level", "demand", "Every required check of a profile that binds the VM to its place passed (level 2).", "At level 0 a required check is absent, or the profile binds nothing.", "",
		"If a genuine chip at an unproven place is enough: --level 0. Else ask the publisher for fresh evidence: `poclog attest --submit`. `poclog explain` says of each absent check how to get it."},
	{"place", "demand", "An authority says that the VM stands at this place: provider, provider/region or provider/zone.", "The entry names another place, none, or one that no authority vouches for.", "",
		"A receipt for another VM is needed, or another --place. A place needs level 2."},
	{"chassis", "demand", "The entry names this chip or machine.", "It names another.", "", "`poclog verify FILE -v` shows the identities of the entry."},
	{"require", "demand", "The checks that you name passed.", "One of them is absent in this entry.", "",
		"`poclog explain CHECK` says why a check can be absent and how to get it. Then: `poclog attest --submit`, or submit the bundle with more collateral."},
	{"owner", "demand", "An owner's endorsement says that the platform is the named owner's.", "There is no such endorsement, or it names another owner.", "",
		"The publisher adds it: `poclog collateral add`, and submits again."},
	{"endorsed-by", "demand", "Those whom you name vouch for the machine: registrars that you pinned, by statements in the dossier; alliances or owners, by what is in the entry.", "One of them does not.", "",
		"See what was stated: `poclog registry show IDENTITY`. Of an alliance's token, the publisher adds it: `poclog collateral add --alliance-token`, and submits again."},
	{"tcb", "demand", "The platform's security status is one of those that you name.", "It has another, or an unknown one.", "",
		"The machine's operator updates its firmware, and the publisher attests again. Or accept it: --tcb STATUS."},
	{"measurement", "demand", "The VM started with this launch measurement.", "It started with another.", "", "`poclog verify FILE -v` shows the measurement."},
	{"user-data", "demand", "The proof speaks for the content of this file, such as a public key.", "It speaks for other content, or for none.", "",
		"The publisher makes a proof for it: `poclog attest --user-data FILE --submit`."},
	{"publisher", "demand", "The keys that you name signed the submission.", "One of them did not.", "", "The publisher signs: `poclog submit --key publisher.key`."},
	{"appraisal-digest", "demand", "One of the appraisal policies that you name judged the evidence.", "Another policy did.", "", "`poclog verify FILE -v` shows the policy's digest. The log publishes the file under it."},
	{"verdict", "demand", "The verdict stands on more than the log's word: audited or reappraised.", "Too few auditors of your policy signed the receipt's checkpoint, or your policy names none.", "",
		"Get the auditors' signatures: `poclog refresh FILE -o FILE --force`. Name auditors in your policy: `poclog policy add-auditor`. Or judge the evidence yourself: --bundle vm.bundle.json."},
	{"max-age", "demand", "The evidence is not older than this.", "It is older, or nothing shows when it was made.", "", "The publisher makes new evidence: `poclog attest --submit`. If no time is known, name witnesses in your policy: `poclog policy add-witness` and quorum."},
	{"max-checkpoint-age", "demand", "The view of the log is not older than this.", "It is older, or no witness says when it was seen.", "", "Get a newer one: `poclog refresh FILE -o FILE --force`."},
	{"max-interval", "demand", "The times before and after which the evidence was made are this close.", "They are further apart, or one is unknown.", "",
		"The publisher makes new evidence, and submits it at once: `poclog attest --submit`. Times come from witnesses: see `poclog policy show`."},
	{"demands", "demand", "Your demands can be met, all together.", "Two of them exclude each other.", "", "Change the flags."},
	{"kind", "demand", "The receipt is of a Proof of Cloud.", "It is of another kind of entry, such as a configuration.", "", "Nothing is to do: `poclog inspect FILE` shows the entry."},
	{"names", "demand", "The dossier covers the names that you ask for.", "It does not list one of them.", "", "Get one that does: `poclog dossier NAME --log URL -o FILE`."},
	{"since", "demand", "Everything that was logged since this time is listed.", "The dossier may leave older entries out.", "", "Ask for less: --since 30d. Or get a dossier that begins earlier: `poclog dossier NAME --log URL --since 90d -o FILE`."},
	{string(profile.StepQuote), "demand", "The live quote is of the receipt's chip and launch measurement, and its host cannot read the VM's memory.", "It is of another chip or another launch.", "",
		"The other end is not the VM of the receipt. Ask it for its own receipt."},
}
