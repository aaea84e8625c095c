package main

import (
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// An explanation says what a check, a step or a demand is about.
type explanation struct {
	id     string
	kind   string // "check", "guard", "step" or "demand"
	proves string // what it proves; of a demand, what it asks
	absent string // why it can be absent; of what only refuses, why it refuses
	open   string // what stays open without it; "" where nothing does that a proof of cloud claims
	do     string // what to do
}

// checkExplanations are those of the checks that an entry can list, in the order of entries.
// docs/format.md §8 defines the checks; docs/attacks.md says which attack each stops.
var checkExplanations = []explanation{
	{string(verify.TEESignature), "check", "The chip maker's firmware signed the quote. On TDX it is Intel's quoting enclave, on SEV-SNP the chip's own key (VCEK) or the cloud's (VLEK).",
		"It is never absent. It refuses a quote that was changed, or whose certificate is another chip's.", "",
		"Take quote and certificates again, from one chip: `poclog attest`, or `poclog import`."},
	{string(verify.TEEChain), "check", "The chip's certificate leads to a root of the chip maker that the appraisal policy lists, and was valid when it was judged.",
		"It is never absent. It refuses a chain that ends elsewhere, and certificates that had ended or not begun.", "",
		"Judge old evidence at its own time: `poclog verify FILE --at TIME`. Evidence of a laboratory needs its policy: --appraisal FILE --realm lab."},
	{string(verify.TEERevocation), "check", "Neither the chip's certificate, nor its CA, nor a signer of collateral was revoked.",
		"It is absent if nobody brought the manufacturer's revocation lists.", "whether the chip's key was revoked",
		"Bring collateral: `poclog collateral fetch FILE -o intel.collateral.json`, then --collateral intel.collateral.json."},
	{string(verify.TEETCB), "check", "The platform's security version is known to its maker, and its status is one that the appraisal policy accepts.",
		"It is absent if nobody brought the manufacturer's TCB information.", "whether the platform has known holes",
		"Bring collateral: `poclog collateral fetch FILE -o intel.collateral.json`, then --collateral intel.collateral.json. If it refuses, the platform's firmware must be updated, or the policy must accept its status."},
	{string(verify.TEENoDebug), "check", "The host cannot read the VM's memory: no debugging, and no migration agent.",
		"It is never absent. It refuses a VM that its host may open.", "",
		"Start the VM without debugging and without a migration agent."},
	{string(verify.TEELaunch), "check", "The VM started from firmware that the provider's signature endorses, or that the appraisal policy lists.",
		"It is absent if there is neither the provider's endorsement nor an entry in the policy.", "whose firmware the VM started from",
		"Have the log's operator list the measurement, or bring the provider's endorsement: `poclog collateral fetch FILE`. On SEV-SNP ask for the report at VMPL 0."},
	{string(verify.TPMSignature), "check", "The certified attestation key (AK) signed the TPM quote.",
		"It is absent if the evidence has no TPM quote.", "what the TPM says",
		"Take the vTPM's evidence, too: `poclog attest`, or `poclog import gotpm`, azure or dstack."},
	{string(verify.TPMPCRDigest), "check", "The PCR values in the file are those that the TPM signed, and PCR 0 to 7 of the SHA-256 bank are among them.",
		"It is absent if PCR 0 to 7 of the SHA-256 bank were not quoted.", "whether two stories of one boot are told",
		"Quote PCR 0 to 7 of the SHA-256 bank, and take the values with the quote."},
	{string(verify.TPMAKTemplate), "check", "The AK signs only what its TPM made: it is restricted, for signing, and cannot leave the TPM.",
		"It is absent if the evidence does not have the AK's public area.", "whether the AK also signs what others make up",
		"Give the AK's public area: --ak ak.pub (tpm2_readpublic -c HANDLE -f tpmt -o ak.pub writes it)."},
	{string(verify.TPMAKChain), "check", "The AK's certificate leads to a root of the provider that the appraisal policy lists.",
		"It is absent if the chain is missing or incomplete.", "whether a provider certified the AK",
		"Give the certificates up to the root, in PEM or DER, behind the evidence: `poclog import gotpm FILE intermediate.pem root.pem`."},
	{string(verify.TPMAKPolicy), "check", "The AK works only while PCR 17 and 18 hold the values of the measured launch.",
		"It is absent if the AK has no such policy. Only bare metal has this check.", "whether another launch could use the AK",
		"Have the AK made with the policy TPM2_PolicyPCR over PCR 17 and 18 of the launch."},
	{string(verify.TPMTechnology), "check", "PCR 0 says that this is a VM of the kind that it claims to be.",
		"It is absent if PCR 0 or the event log is missing. Only Compute Engine has this check.", "whether the vTPM is that of a TDX VM",
		"Take the evidence in a TDX VM of Compute Engine, with both event logs."},
	{string(verify.BindAKInTEE), "check", "The TEE named this AK: the quote's REPORTDATA holds its digest.",
		"It is absent in historical evidence whose quote does not name the AK.", "whether TPM and TEE belong to one VM",
		"Make REPORTDATA of the AK: `poclog challenge --ak ak.pub` prints it. On Azure take all evidence in one boot of one VM."},
	{string(verify.BindTEEInTPM), "check", "The TPM signed for this TEE quote: its extraData is the quote's digest.",
		"It is absent in historical evidence whose TPM quote is on something else.", "whether TPM and TEE belong to one VM",
		"Take the TEE's quote first, and have the TPM quote its SHA-256, without padding."},
	{string(verify.BindPCRRTMR), "check", "Both event logs replay to the signed registers and tell one story of the boot.",
		"It is absent if an event log is missing, or the SHA-384 bank was not quoted. No Azure tool takes both logs.", "whether TPM and TEE saw one boot",
		"Give both logs: --tcg-log /sys/kernel/security/tpm0/binary_bios_measurements --ccel /sys/firmware/acpi/tables/data/CCEL."},
	{string(verify.BindTXT), "check", "PCR 17 and 18 are a measured launch that the appraisal policy lists.",
		"It is absent if these registers were not quoted. Only bare metal has this check.", "which hypervisor holds the TPM",
		"Quote PCR 17 and 18, and have the log's operator list the launch."},
	{string(verify.BindChassis), "check", "The VM runs on the very chip that the AK certificate names beside the TPM.",
		"It is absent if the certificate names no chip. Only bare metal has this check.", "whether the chip stands beside the TPM, or is elsewhere and relays",
		"Have the provider certify the AK with the machine's chip (docs/publishing/bare-metal.md), or demand place.registry."},
	{string(verify.PlaceCert), "check", "The AK certificate names the VM, or the machine, and its place.",
		"It is absent if the certificate names no place. Azure's certificates name none.", "where the TPM stands",
		"Sign with the AK that the provider certified for this instance. On Compute Engine that is gceAK."},
	{string(verify.PlaceRegistry), "check", "The provider itself lists this chip as one of its own, as the judge saw it.",
		"It is absent if the policy names no registry, or the registry did not answer. Azure has none.",
		"whether the chip is in the provider's fleet: a chip elsewhere can relay the commands of a rented vTPM",
		"Submit fresh evidence to a log whose policy asks the provider's registry (/health says whether it answers). A reader demands it: `poclog verify FILE --require place.registry`."},
	{string(verify.PlaceAgree), "check", "All sources of the place say the same.",
		"It is absent if no source names a place.", "whether the sources of the place contradict",
		"Sign with the AK that the provider certified for this instance."},
	{string(verify.EndorseChip), "check", "A registry that the appraisal policy lists had this chip on its list when it was shown this quote.",
		"It is absent if nobody brought a registry's token. It is not made if the policy lists no registry.", "",
		"Get a token from the registry, then: `poclog collateral add FILE --alliance-token answer.json --bundle vm.bundle.json`."},
	{string(verify.EndorseOwner), "check", "An owner that the appraisal policy lists says that this platform is his. Only TDX has this check.",
		"It is absent if nobody brought an owner's endorsement. It is not made if the policy lists no owner.", "",
		"Get the owner's endorsement, then: `poclog collateral add FILE --owner-endorsement poe.cbor --root root.pem`."},
	{string(verify.FreshChallenge), "check", "The evidence was made after a challenge, and so after the time of that challenge's checkpoint.",
		"It is absent in historical evidence, which answers no challenge.", "when the evidence was made: it may be old, and shown again",
		"Take new evidence: `poclog attest --submit`. By hand: " + adviceChallenge + "."},
}

// guardExplanations are those of the checks that only refuse.
var guardExplanations = []explanation{
	{string(verify.Format), "guard", "Every file and item is well-formed, in its one accepted form.", "It refuses what was damaged, or never was such a file.", "",
		"Look what is in the file: `poclog inspect FILE`. Take the evidence again, or import it: `poclog import --help` lists how."},
	{string(verify.Profile), "guard", "The items fit a profile that the appraisal policy admits, and that the reader asks for.", "It refuses a mix of items that is no profile's, and a profile that the log or the reader does not admit.", "",
		"A reader names the profile, too: --profile. A publisher uses a log that admits it; `poclog import --help` lists what makes which."},
	{string(verify.Realm), "guard", "Evidence of laboratories and of production never mix.", "It refuses a laboratory's root in production, and a manufacturer's in a laboratory.", "",
		"For a laboratory's evidence: --realm lab, and its policy with --appraisal FILE."},
	{string(verify.Collateral), "guard", "Collateral is complete, signed by its issuer, and valid when the evidence is judged.", "It refuses collateral that is missing in part, has ended, or was issued later.", "",
		"Fetch it again: `poclog collateral fetch FILE -o intel.collateral.json --force`. Judge old evidence at its time: --at TIME."},
	{string(verify.Policy), "guard", "The appraisal policy allows it.", "It refuses what no rule of the policy admits.", "",
		"Ask the log's operator, or judge by a policy of your own: --appraisal FILE."},
	{string(verify.PublisherSignature), "guard", "A publisher that the appraisal policy lists signed the submission.", "It refuses a submission without such a signature.", "",
		"Sign it: `poclog submit FILE --key publisher.key`. The operator lists keys as `poclog key show` prints them, under \"publishers\" in appraisal.json."},
	{string(verify.SecondOpinion), "guard", "Another implementation accepts the quote, too.", "It refuses at a log's admission what another implementation refuses. It is no part of the appraisal.", "",
		"Report it to the log's operator with the file: one of two implementations is wrong."},
}

// statementExplanations are those of the checks of registrars' statements.
var statementExplanations = []explanation{
	{string(registry.CheckOrigin), "guard", "The statement is for this log.", "It refuses a statement that was signed for another log.", "", "Write and sign one for this log: `poclog registry endorse IDENTITY --log URL`."},
	{string(registry.CheckRegistrar), "guard", "The log's policy lists the registrar.", "It refuses whom the policy does not list.", "", "Ask the log's operator to list it: `poclog registry admit appraisal.json FILE`."},
	{string(registry.CheckSignature), "guard", "As many members signed as the statement's type needs, each once, and every signature is good.", "It refuses a signature that is wrong, another's or a second one, and says how many are missing.", "",
		"Have more members sign: `poclog sign FILE --key KEY -o FILE`."},
	{string(registry.CheckSerial), "guard", "The serial is above the registrar's last on this subject, by at most 1,001.", "It refuses what was sent before, so that nothing old can be sent again.", "",
		"Write and sign it again: the command asks the log for the last serial."},
	{string(registry.CheckSubject), "guard", "What is revoked is endorsed, and what is thawed is frozen.", "It refuses a revocation or a thaw of what is not there.", "", "See what is there: `poclog registry show IDENTITY`."},
	{string(registry.CheckDocument), "guard", "The documents that the log is to keep came with the statement, or are there.", "It refuses a statement without them.", "", "Send them: `poclog registry submit FILE --document FILE`."},
	{string(registry.CheckStated), "guard", "Of a log's entry: it names the policy in force and the keys that signed, and its time is not before the statement's before it.", "An auditor refuses another entry.", "", "Ask the log's operator: the log logged what is wrong."},
	{string(registry.CheckOpening), "guard", "An opening shows a machine of the registrar's newest commitment.", "It refuses an opening of another commitment, or of one that was replaced.", "", "Ask the registrar for a new one: `poclog registry open FLEET IDENTITY`."},
}
