package attack

import (
	"bytes"
	"crypto/elliptic"
	"math/big"
	"strings"
)

// descriptions say what each attacker does, in the words of docs/attacks.md.
var descriptions = map[string]string{
	"quote-forged":             "changes a bit of the signature of the TEE's quote, and has his TPM quote the result",
	"enclave-own":              "quotes a TD that need not exist with an enclave of his own, on a genuine chip, and brings no collateral",
	"lab-root-in-production":   "brings a chip maker of his own, with collateral that it signed",
	"pck-revoked":              "uses a chip whose certificate was revoked",
	"tcb-revoked":              "uses a chip whose security version was revoked",
	"tcb-out-of-date":          "uses a chip with known holes",
	"debug-td":                 "starts the VM so that its host can read its memory",
	"firmware-own":             "runs firmware of his own, which tells a rented VM's story (in a TD, by extending its registers)",
	"tpm-quote-forged":         "changes the TPM quote",
	"pcr-unselected":           "shows PCR values of another boot, which the TPM quote does not cover",
	"ak-unrestricted":          "has a key certified that signs anything, and writes the TPM's quote himself",
	"ak-uncertified":           "uses a key that a CA of his own certified, with the true root above it",
	"other-technology":         "quotes a rented VM of another technology",
	"ak-swap":                  "puts Y's TPM, key and certificate beside the quote of X's TEE, which names X's key",
	"relay-mix":                "copies Y's key into X's TD quote, and puts Y's published TPM quote beside it",
	"nonce-shared":             "puts another's TPM quote over the same nonce beside his own TEE's quote",
	"relay-tpm":                "puts another quote of a TEE under the same challenge beside the TPM quote",
	"rtmr-forged":              "boots an image of his own in the TD, and the expected one beside the TPM",
	"log-swapped":              "shows the event log of another boot",
	"log-truncated":            "cuts the last event off the event log",
	"log-reordered":            "boots the expected parts in another order",
	"pzid-copied":              "has MROWNER name another's instance",
	"not-production":           "uses an AK certificate that is not a production instance's",
	"relay-vtpm":               "runs a genuine chip at home, whose host forwards TPM commands to a rented vTPM, and names its instance in MROWNER",
	"registry-forged":          "shows the provider's answer on another chip",
	"zone-lie":                 "stands in another zone than the AK certificate says",
	"nonce-old":                "answers a challenge that is a second too old",
	"nonce-foreign":            "answers a challenge of a log that the policy does not list",
	"nonce-unsigned":           "answers a challenge that its log did not sign",
	"nonce-stripped":           "strips the witnesses' cosignatures off the challenge",
	"nonce-other-salt":         "answers one challenge and shows another",
	"nonce-of-the-future":      "answers a challenge that was signed later",
	"bundle-rewrapped":         "submits another's public bundle again, to frame its owner",
	"malleated-quote":          "negates ECDSA's s, so that the same quote has other bytes",
	"quote-replayed":           "keeps a TEE's quote, and has another boot of the TPM quote it again",
	"tpm-rewound":              "restores a snapshot of the vTPM, whose clock goes back",
	"boot-forked":              "copies the vTPM, so that one boot has two stories",
	"clone-ak":                 "has one AK answer for TEEs on two chips",
	"ek-uncertified":           "shows an EK certificate that no maker of TPMs issued, with a true root above it: a TPM in software",
	"ek-reuse":                 "shows another machine's EK certificate beside his own AK's",
	"ak-without-policy":        "has a key certified that signs whatever was launched",
	"ak-with-password":         "has a key certified that a password unlocks, too",
	"ak-other-pcrs":            "has a key certified that is tied to other registers",
	"ak-policy-or":             "has a key certified that an alternative policy unlocks, too",
	"txt-stack-swapped":        "launches a stack of his own on the rented machine, and has a key certified that is tied to it",
	"provider-lie":             "is a provider who places his machines with another provider",
	"relay-rented":             "has a TD on a rented machine relay its TPM to a chip at home",
	"relay-unlisted":           "does so on a machine whose certificate does not name its chip",
	"ek-reuse-certified":       "has the provider certify keys of one TPM for two machines",
	"tpm-swapped":              "has the TPMs of two rented machines answer for one chip",
	"collateral-old":           "has a chip judged by collateral that expired",
	"collateral-of-the-future": "has a chip judged by collateral that is not valid yet",
	"hcl-forged":               "has firmware of his own at home name a rented VM's key in its HCL report",
	"hcl-edited":               "writes today's nonce into an HCL report that the chip did not sign",
	"pcr-hidden":               "has the TPM quote the firmware's registers in another bank, so that two stories of one boot do not contradict",
	"nonce-framed":             "puts an AK's hash, or what he likes, beside the nonce of a proof that has no AK",
	"ak-of-another-kind":       "uses a key that Azure certified for a VM whose host runs the TPM",
	"chip-unnamed":             "hides which chip he uses behind a masked CHIP_ID and a cloud's key (VLEK)",
	"ask-revoked":              "uses a chip whose maker's CA was revoked",
	"tcb-rolled-back":          "has not committed the newer firmware, so that he can go back to old one while the VM runs",
	"tcb-at-launch":            "launched the VM on firmware with known holes, and updated it since",
	"migration-agent":          "lets a migration agent take the VM's memory elsewhere",
	"vmpl-lower":               "asks for the report from a lower privilege level than the one that was measured",
	"svn-rolled-back":          "launches an old guest, whose ID block its owner once signed",
	"token-forged":             "signs a registry's token on his chip himself",
	"token-relabelled":         "puts another label under a registry's signature",
	"token-unsigned":           "strips the signature off a token, which says that it has none",
	"token-of-another-quote":   "shows a registry's token on another quote",
	"token-of-another-chip":    "has a registry sign a token on his quote that names a listed chip",
	"token-old":                "shows a token of over a day ago: the chip may have left the list",
	"token-of-the-future":      "shows a token that will be true later",
	"owner-uncertified":        "endorses his platform himself, in an owner's name and with his true root above",
	"owner-forged":             "puts his platform under an owner's signature on another",
	"owner-other-platform":     "shows an owner's endorsement of another platform",
	"owner-expired":            "shows an owner's endorsement that ended: the machine may be another's",
	"owner-lie":                "is an owner who gives his machine another's name",
	"clone-chassis":            "has the extracted key of one chip answer for VMs in two regions",
}

// inProfile says by ID what is done otherwise than elsewhere.
var inProfile = map[string]string{
	"azure-snp-vtpm.zone-lie":  "uses a key that AMD made for another cloud (VLEK)",
	"azure-tdx-vtpm.relay-mix": "puts a copy of Y's HCL report and Y's TPM beside X's TD quote",
	"azure-snp-vtpm.relay-mix": "puts a copy of Y's HCL report and Y's TPM beside X's SNP report",
}

// Describe says what the attacker of a name, or of an ID, does, or "" if there is none.
func Describe(name string) string {
	if what, ok := inProfile[name]; ok {
		return what
	}
	return descriptions[name[strings.LastIndexByte(name, '.')+1:]]
}

// NegateS replaces s by n − s in the signature of a TDX quote of version 4.
func NegateS(quote []byte) []byte {
	const s = 48 + 584 + 4 + 32
	out := bytes.Clone(quote)
	n := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(out[s:s+32]))
	n.FillBytes(out[s : s+32])
	return out
}
